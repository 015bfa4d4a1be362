//! A unit in Rust, whose members do not stand in the order of their offsets.
#![no_std]
#![crate_type = "lib"]
pub struct Reordered { pub small: u8, pub large: u64, pub middle: u32 }
pub enum Choice { None, Number(u32), Pair { a: u8, b: u64 } }
#[repr(C)] pub struct AsInC { pub a: u8, pub b: u64 }
#[no_mangle] pub static RUST_STATIC: AsInC = AsInC { a: 1, b: 2 };
#[no_mangle] pub extern "C" fn from_rust(a: u32, r: &Reordered, c: &AsInC) -> u64 { u64::from(a) + r.large + u64::from(r.small) + c.b }
#[no_mangle] pub extern "C" fn with_option(o: Option<&AsInC>, c: Choice) -> u64 { match (o, c) { (Some(o), Choice::Number(n)) => o.b + u64::from(n), (Some(o), Choice::Pair { a, b }) => o.b + u64::from(a) + b, _ => 0 } }
