//! x
/// x
#[derive(Debug)]
pub struct Order;
impl Order {
/// x
pub fn new(_: u32) -> Self { Self }
/// x
pub fn set_depth(&mut self, _: Option<u8>) {}
/// x
pub fn push(&mut self, pts: i64) -> i64 { pts }
}
