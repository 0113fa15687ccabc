//! Small changes to inputs, the same ones for the same seed.

/// What parsers stumble over.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x80\xae",
    b"\xc3\xa9",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"--",
    b"\"",
    b"'",
    b"\\",
    b",",
    b";",
    b":",
    b"=",
    b"&",
    b"%",
    b"%00",
    b"%ff",
    b"+",
    b".",
    b"/",
    b"?",
    b"#",
    b"@",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e999",
    b"4294967296",
    b"9223372036854775808",
    b" and ",
    b"|=",
    b"~=",
    b">=",
    b" desc",
    b"sig=",
    b"https://",
    b"[::1]",
    b"\x81\x80",
    b"\xfe\xff\xff",
    b"\xff\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x01\x80\0\0\0\0",
    b"\x80\x80\0\0\0\0",
];
/// Inputs grow no longer than that.
const LONGEST: usize = 2_048;

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.roll().to_le_bytes()[0]
    }

    /// A part of something: where it begins and ends.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let end = start + self.below((length - start).min(16) + 1);
        start..end
    }
}

/// One of the inputs with one to four changes.
pub fn mutate(dice: &mut Dice, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut input = inputs[dice.below(inputs.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() + 1);
        match dice.below(8) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = dice.byte();
                }
            }
            2 => drop(input.drain(dice.range(input.len()))),
            3 => {
                let again = input[dice.range(input.len())].to_vec();
                input.splice(at..at, again);
            }
            4 => drop(input.splice(at..at, [dice.byte()])),
            5 => input.truncate(at),
            6 => {
                let other = &inputs[dice.below(inputs.len())];
                let from = dice.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = WORDS[dice.below(WORDS.len())];
                let end = if dice.below(2) == 0 { at } else { input.len().min(at + word.len()) };
                input.splice(at..end, word.iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
    input
}
