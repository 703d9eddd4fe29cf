//! Cargo's build script, no module of the crate: how the released binary is linked.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "this is how Cargo and its scripts talk")]

fn main() {
    println!("cargo:rerun-if-changed=src/link.rs");
    let is = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && is("PROFILE", "release") {
        // At a fixed address, as Go links daprd: nothing is relocated at start, so that its 300 pages of constants stay unread and shared.
        println!("cargo:rustc-link-arg-bins=-no-pie");
        // Unwinding is part of the binary, not one more library to find and map (libgcc_s.so.1).
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
