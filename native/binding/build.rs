//! Passes the linker flags a Node add-on needs.
fn main() {
    napi_build::setup();
}
