//! Cargo's build script, not a module of the crate: the linker flags of the released binary.

#![expect(clippy::disallowed_methods, reason = "this is how Cargo and its scripts talk")]

fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    let is = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && is("PROFILE", "release") {
        // Linked at a fixed address, as Go links daprd: no relocations at start, so that its 300 pages of constants are
        // not read and stay shared.
        println!("cargo:rustc-link-arg-bins=-no-pie");
        // Unwinding is linked statically: one library less (libgcc_s.so.1) to find and map at start.
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
