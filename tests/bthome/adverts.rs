//! Advertisements as both sides get them, and how a sensor seals one.

use aes::Aes128;
use ccm::{
    Ccm, NonceSize,
    aead::{Aead, KeyInit, Nonce, Payload, array::ArraySize},
    consts::{U4, U11, U12, U13},
};

/// One device and what it sends.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub kind: &'static str,
    /// The bind key, in hexadecimal.
    pub key: Option<String>,
    pub adverts: Vec<Advert>,
}

#[derive(Debug, Clone)]
pub struct Advert {
    pub address: String,
    pub data: Vec<u8>,
    /// Seconds.
    pub at: f64,
    /// The local name.
    pub name: String,
}

pub const KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";
/// Of a maker whose thermometers Theengs knows.
pub const ADDRESS: &str = "A4:C1:38:8F:80:A5";

impl Case {
    /// One advertisement of one device.
    pub fn of(kind: &'static str, name: &str, is_sealed: bool, data: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            key: is_sealed.then(|| KEY.to_owned()),
            adverts: vec![Advert::new(data, 0.0)],
        }
    }
}

impl Advert {
    pub fn new(data: Vec<u8>, at: f64) -> Self {
        Self { address: ADDRESS.to_owned(), data, at, name: String::new() }
    }
}

pub fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The address as people write it.
pub fn address() -> Vec<u8> {
    bytes(ADDRESS)
}

/// The address as it is on the air.
pub fn address_on_air() -> Vec<u8> {
    address().into_iter().rev().collect()
}

/// Ciphertext and check.
pub fn sealed(nonce: &[u8], in_front: &[u8], message: &[u8]) -> Vec<u8> {
    fn with<N: ArraySize + NonceSize>(nonce: &[u8], in_front: &[u8], message: &[u8]) -> Vec<u8> {
        type Cipher<N> = Ccm<Aes128, U4, N>;
        let key: [u8; 16] = bytes(KEY).try_into().unwrap();
        let nonce: &Nonce<Cipher<N>> = nonce.try_into().unwrap();
        Cipher::<N>::new(&key.into()).encrypt(nonce, Payload { msg: message, aad: in_front }).unwrap()
    }
    match nonce.len() {
        13 => with::<U13>(nonce, in_front, message),
        12 => with::<U12>(nonce, in_front, message),
        11 => with::<U11>(nonce, in_front, message),
        length => panic!("no format has a nonce of {length} bytes"),
    }
}

/// BTHome with these objects, plain or sealed with this counter.
pub fn bthome(objects: &[u8], counter: Option<u32>) -> Vec<u8> {
    let Some(counter) = counter else { return [&[0x40], objects].concat() };
    let nonce = [&address()[..], &[0xd2, 0xfc, 0x41], &counter.to_le_bytes()].concat();
    let sealed = sealed(&nonce, &[], objects);
    let (ciphertext, check) = sealed.split_at(sealed.len() - 4);
    [&[0x41], ciphertext, &counter.to_le_bytes(), check].concat()
}

/// MiBeacon of a product with these objects, plain or sealed with this counter.
pub fn mibeacon(product: u16, objects: &[u8], counter: Option<u32>) -> Vec<u8> {
    let [number, upper @ ..] = counter.unwrap_or(7).to_le_bytes();
    let product = product.to_le_bytes();
    // Version 5 with address and objects, and sealed or not.
    let control = if counter.is_some() { [0x58, 0x50] } else { [0x50, 0x50] };
    let head = [&control[..], &product, &[number], &address_on_air()].concat();
    if counter.is_none() {
        return [&head[..], objects].concat();
    }
    let nonce = [&address_on_air()[..], &product, &[number], &upper].concat();
    let sealed = sealed(&nonce, &[0x11], objects);
    let (ciphertext, check) = sealed.split_at(sealed.len() - 4);
    [&head[..], ciphertext, &upper, check].concat()
}

/// PVVX's (six bytes) or ATC1441's (three) own format, sealed.
pub fn atc(measured: &[u8], counter: u8) -> Vec<u8> {
    let length = u8::try_from(measured.len() + 8).unwrap();
    let nonce = [&address_on_air()[..], &[length, 0x16, 0x1a, 0x18, counter]].concat();
    [&[counter][..], &sealed(&nonce, &[0x11], measured)].concat()
}
