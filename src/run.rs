//! `sidestream run`: a sidecar and an app, started together, stopped in order (tests/spec/resources-cli.md, "3. `run`
//! subcommand").
//!
//! The sidecar runs in this process, with the flags that the Dapr command line would give it ([`launch`]). The app is a
//! child process in its own process group ([`app`]). The exit code is the app's. A run file starts several of both
//! ([`file`](mod@file), [`stack`]).

mod app;
mod console;
mod file;
mod launch;
mod messages;
mod names;
mod output;
mod ports;
mod program;
mod ready;
mod sidecar;
mod single;
mod stack;

use anyhow::Context as _;

use self::console::Console;
use crate::cli::RunArgs;
use crate::environment::Environment;
use crate::shutdown::signals::Signals;

/// Run one app with a sidecar, or those of a run file, to the end. Returns the exit code.
///
/// # Errors
/// If this process cannot listen for signals. All other errors are printed, with exit code 1.
pub async fn run(args: &RunArgs, environment: &Environment) -> anyhow::Result<u8> {
    let mut signals = Signals::listen_with_hang_up().context("cannot listen for signals")?;
    let console = Console::new(args.flags.log_as_json);
    if args.extra.kubernetes {
        return Ok(console.give_up("-k, --kubernetes is not supported: run starts processes of this machine"));
    }
    Ok(if args.extra.run_file.is_some() {
        Box::pin(stack::run(args, environment, &console, &mut signals)).await
    } else {
        Box::pin(single::run(args, environment, &console, &mut signals)).await
    })
}
