//! Framings: whole pieces come out however the bytes are cut, garbage never does.

use proptest::{collection::vec, prelude::*};

use super::*;

/// What comes out, as text; `!` stands for a garbled lump.
fn out(framing: &mut dyn Framing, bytes: &[u8]) -> Vec<String> {
    let pieces = framing.push(bytes).into_iter();
    pieces.map(|piece| piece.map_or("!".to_owned(), |piece| String::from_utf8(piece).unwrap())).collect()
}

#[test]
fn lines_are_cut_at_the_delimiter_and_too_long_ones_are_thrown_away_whole() {
    let mut lines = Lines::new(b"\r\n", 8);
    assert_eq!(out(&mut lines, b"one\r"), [""; 0]);
    assert_eq!(out(&mut lines, b"\ntwo\r\n\r\nthr"), ["one", "two"]);
    assert_eq!(out(&mut lines, b"ee\r\n12345678\r\n"), ["three", "12345678"]);
    assert_eq!(out(&mut lines, b"123456789\r\nfour\r\n"), ["!", "four"]);
    assert_eq!(out(&mut lines, &[b'x'; 10_000]), [""; 0]);
    assert!(lines.held() <= 10, "{} bytes are held", lines.held());
    assert_eq!(out(&mut lines, b"\r\nfive\r\nsi"), ["!", "five"]);
    lines.clear();
    assert_eq!(out(&mut lines, b"x\r\n"), ["x"], "what was half read is forgotten");
    lines.in_midst();
    assert_eq!(out(&mut lines, b"21.5\r\nsix\r\n"), ["six"], "the end of a line is no line");
}

/// Every checksum of "123456789", from the catalogue of parametrised CRC algorithms by Greg Cook.
#[test]
fn checksums_are_those_of_the_catalogue() {
    for (checksum, expected) in [
        (Checksum::Sum8, 0xdd),
        (Checksum::Xor8, 0x31),
        (Checksum::Crc8, 0xf4),
        (Checksum::Crc16Modbus, 0x4b37),
        (Checksum::Crc16Arc, 0xbb3d),
        (Checksum::Crc16X25, 0x906e),
        (Checksum::Crc16Ccitt, 0x29b1),
        (Checksum::Crc16Xmodem, 0x31c3),
    ] {
        assert_eq!(checksum.of(b"123456789"), expected, "{checksum:?}");
    }
}

const CRC: Option<(Checksum, Order, Covers)> = Some((Checksum::Crc16Ccitt, Order::Big, Covers::All));

/// `[Z][length][payload][CRC]`
fn prefixed(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'Z', u8::try_from(payload.len()).unwrap()];
    frame.extend(payload);
    frame.extend(Checksum::Crc16Ccitt.of(&frame).to_be_bytes());
    frame
}

fn prefixed_frames() -> Frames {
    let prefix = Prefix { bytes: 1, order: Order::Big, counts: Counts::Payload };
    Frames::new(vec![b'Z'], Length::Prefixed(prefix), CRC, 64)
}

#[test]
fn fixed_frames_are_found_behind_their_sync_word() {
    let mut frames = Frames::new(b"AB".to_vec(), Length::Fixed(5), None, 64);
    assert_eq!(out(&mut frames, b"AB123AB456xxAAB789A"), ["AB123", "AB456", "AB789"]);
    assert_eq!(out(&mut frames, b"B000"), ["AB000"]);
    let mut bare = Frames::new(Vec::new(), Length::Fixed(3), None, 64);
    assert_eq!(out(&mut bare, b"12"), [""; 0]);
    bare.pause();
    assert_eq!(out(&mut bare, b"123456"), ["123", "456"]);
}

#[test]
fn a_length_counts_what_it_is_told_to_and_an_absurd_one_is_noise() {
    for (counts, order, bytes, frame) in [
        (Counts::Payload, Order::Big, 1, &b"Z\x02ab"[..]),
        (Counts::Payload, Order::Little, 2, b"Z\x02\x00ab"),
        (Counts::Rest, Order::Big, 2, b"Z\x00\x02ab"),
        (Counts::Frame, Order::Big, 4, b"Z\x00\x00\x00\x07ab"),
    ] {
        let mut frames = Frames::new(vec![b'Z'], Length::Prefixed(Prefix { bytes, order, counts }), None, 64);
        assert_eq!(out(&mut frames, frame).len(), 1, "{counts:?}");
    }
    let prefix = Prefix { bytes: 1, order: Order::Big, counts: Counts::Frame };
    let mut frames = Frames::new(vec![b'Z'], Length::Prefixed(prefix), None, 64);
    assert_eq!(out(&mut frames, b"Z\x00Z\xffZ\x04ok"), ["!", "Z\u{4}ok"], "0 and 255 cannot be");
}

#[test]
fn a_true_frame_inside_a_false_one_is_found() {
    let mut stream = vec![b'Z', 30];
    stream.extend(prefixed(b"good"));
    stream.extend(prefixed(&[b'x'; 30]));
    let pieces = prefixed_frames().push(&stream);
    let whole: Vec<_> = pieces.into_iter().flatten().collect();
    assert_eq!(whole, [prefixed(b"good"), prefixed(&[b'x'; 30])]);
}

/// A search that goes on byte by byte, with a checksum of 1024 bytes for each, always ends with 1023 bytes in hand.
#[test]
fn the_search_in_noise_is_bounded_and_the_next_frames_are_found_all_the_same() {
    let mut frames = Frames::new(Vec::new(), Length::Fixed(1024), CRC, 1024);
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1024).collect();
    let least = (0..20).map(|_| (frames.push(&noise), frames.held()).1).min();
    assert!(least < Some(900), "{least:?}");
    let mut frame: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1022).collect();
    frame.extend(Checksum::Crc16Ccitt.of(&frame).to_be_bytes());
    let found = |pieces: Vec<Result<Vec<u8>, Garbled>>| pieces.iter().flatten().any(|piece| *piece == frame);
    assert!((0..40).any(|_| found(frames.push(&frame))), "64 bytes further with each frame");
    frames.push(&noise);
    frames.pause();
    assert!(found(frames.push(&frame)), "a silence shows the beginning at once");
}

proptest! {
    #[test]
    fn frames_come_out_however_the_bytes_are_cut(
        payloads in vec(vec(any::<u8>(), 0..60), 1..8),
        cuts in vec(1_usize..40, 1..50),
    ) {
        let expected: Vec<Vec<u8>> = payloads.iter().map(|payload| prefixed(payload)).collect();
        let stream = expected.concat();
        let mut frames = prefixed_frames();
        let (mut found, mut rest, mut cuts) = (Vec::new(), &stream[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            found.extend(frames.push(head).into_iter().map(Result::unwrap));
            rest = tail;
        }
        prop_assert_eq!(found, expected);
    }

    /// Up to three flipped bits in so short a frame change its CRC-16 in every case.
    #[test]
    fn a_frame_with_flipped_bits_never_comes_out(
        payload in vec(any::<u8>(), 1..60),
        flips in vec(any::<proptest::sample::Index>(), 1..=3),
    ) {
        let frame = prefixed(&payload);
        let mut bad = frame.clone();
        let bits: std::collections::HashSet<usize> = flips.iter().map(|flip| flip.index(frame.len() * 8)).collect();
        for bit in bits {
            bad[bit / 8] ^= 1 << (bit % 8);
        }
        let mut frames = Frames::new(Vec::new(), Length::Fixed(frame.len()), CRC, 64);
        prop_assert!(frames.push(&bad).iter().all(Result::is_err));
    }

    #[test]
    fn noise_is_bounded_and_harms_nothing(noise in vec(any::<u8>(), 0..4000)) {
        let mut frames = prefixed_frames();
        frames.push(&noise);
        prop_assert!(frames.held() <= 64);
        // However long the false frame that the noise ended with, it is over by now.
        frames.push(&[0; 64]);
        let pieces = frames.push(&prefixed(b"good"));
        prop_assert_eq!(pieces.into_iter().flatten().last(), Some(prefixed(b"good")));
        let mut lines = Lines::new(b"\n", 32);
        lines.push(&noise);
        lines.push(b"\n");
        prop_assert_eq!(lines.push(b"good\n"), vec![Ok(b"good".to_vec())]);
    }
}
