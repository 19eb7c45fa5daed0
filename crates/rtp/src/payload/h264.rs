//! x
use super::*;
/// x
#[derive(Debug)]
pub struct Unpacker;
impl Unpacker {
/// x
pub fn new() -> Self { Self }
/// x
pub fn push(&mut self, _: Input<'_>, _: &mut Vec<Unit>) -> Result<(), Error> { Ok(()) }
}
/// x
#[derive(Debug)]
pub struct Packer;
/// x
#[derive(Debug)]
pub struct Options { /// x
pub stap_a: bool }
impl Packer {
/// x
pub fn new(_: Options) -> Self { Self }
pub fn set_config(&mut self, _: &[u8]) {}
/// x
pub fn pack(&mut self, _: &media::Frame, _: &mut impl Sink) {}
}
