//! The two BLAKE3 modes, the labels of the packet layer, and a key that wipes itself.

use zeroize::Zeroize;

use crate::aead::Cipher;

/// Who sends the packets of a [`Sealer`](crate::Sealer) or [`Opener`](crate::Opener).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the initiator of the handshake to the responder.
    InitiatorToResponder,
    /// From the responder to the initiator.
    ResponderToInitiator,
}

impl Direction {
    /// The direction with this number (0 or 1), as Python passes it.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::InitiatorToResponder),
            1 => Some(Self::ResponderToInitiator),
            _ => None,
        }
    }

    fn chain_label(self) -> &'static str {
        match self {
            Self::InitiatorToResponder => "wraith-v2 chain i2r",
            Self::ResponderToInitiator => "wraith-v2 chain r2i",
        }
    }

    fn iv_label(self) -> &'static str {
        match self {
            Self::InitiatorToResponder => "wraith-v2 iv i2r",
            Self::ResponderToInitiator => "wraith-v2 iv r2i",
        }
    }
}

/// 32 secret bytes, wiped when they go. No `Debug`, no comparison.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) [u8; 32]);

impl Zeroize for Key {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl Key {
    pub(crate) const ZERO: Self = Self([0; 32]);
}

/// Keyed BLAKE3 of a short message.
#[inline]
pub(crate) fn keyed_hash(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key, message).as_bytes()
}

/// The first chain key and the IV of an epoch.
pub(crate) fn first_chain(direction: Direction, epoch: u32, root: &[u8; 32]) -> (Key, [u8; 24]) {
    let mut material = [0u8; 36];
    material[..32].copy_from_slice(root);
    material[32..].copy_from_slice(&epoch.to_be_bytes());
    let chain = Key(blake3::derive_key(direction.chain_label(), &material));
    let mut long_iv = blake3::derive_key(direction.iv_label(), &material);
    let mut iv = [0u8; 24];
    iv.copy_from_slice(&long_iv[..24]); // BLAKE3's output is extendable: a prefix is a shorter output
    long_iv.zeroize();
    material.zeroize();
    (chain, iv)
}

/// `C[b+1]` from `C[b]`.
#[inline]
pub(crate) fn next_chain(chain: &mut Key) {
    chain.0 = keyed_hash(&chain.0, &[0x01]);
}

/// `B[b]` = `P[b, 0]`, the block's first step key, from `C[b]`.
#[inline]
pub(crate) fn block_key(chain: &Key, block: u32) -> Key {
    let b = block.to_be_bytes();
    Key(keyed_hash(&chain.0, &[0x02, b[0], b[1], b[2], b[3]]))
}

/// What is hashed with a step key to give the next one.
pub(crate) const STEP: u8 = 0x03;

/// `P[b, j+1]` from `P[b, j]`.
#[inline]
pub(crate) fn next_step(step: &mut Key) {
    step.0 = next_step_of(&step.0);
}

/// [`next_step`], not in place.
#[inline]
pub(crate) fn next_step_of(step: &[u8; 32]) -> [u8; 32] {
    keyed_hash(step, &[STEP])
}

/// Bytes of [`message_key_input`].
pub(crate) const MESSAGE_KEY_BYTES: usize = 5;

/// What is hashed with a packet's step key to give its message key.
#[inline]
pub(crate) fn message_key_input(pn: u32) -> [u8; MESSAGE_KEY_BYTES] {
    let p = pn.to_be_bytes();
    [0x04, p[0], p[1], p[2], p[3]]
}

/// The key of packet `pn` from its step key.
#[inline]
pub(crate) fn message_key(step: &Key, pn: u32) -> Key {
    Key(keyed_hash(&step.0, &message_key_input(pn)))
}

/// The connection id with this index, for the party whose key this is.
pub(crate) fn connection_id(cid_key: &[u8; 32], index: u32) -> [u8; 8] {
    let hash = keyed_hash(cid_key, &index.to_be_bytes());
    let mut cid = [0u8; 8];
    cid.copy_from_slice(&hash[..8]);
    cid
}

/// The 16 bytes that turn a message key into the subkey of XChaCha20-Poly1305. They are the same for every
/// packet of an epoch: the packet number is in the last eight of the nonce's 24 bytes.
#[inline]
pub(crate) fn nonce_prefix(iv: &[u8; 24]) -> &[u8; 16] {
    let [prefix @ .., _, _, _, _, _, _, _, _] = iv;
    prefix
}

/// What the AEAD takes as key: the message key, or its subkey.
pub(crate) fn packet_key(cipher: Cipher, iv: &[u8; 24], message_key: Key) -> Key {
    match cipher {
        Cipher::Aes256Gcm => message_key,
        Cipher::XChaCha20Poly1305 => {
            let mut subkey = [[0; 32]];
            wraith_lanes::hchacha_subkeys(&[message_key.0], nonce_prefix(iv), &mut subkey);
            let key = Key(subkey[0]);
            subkey.as_flattened_mut().zeroize();
            key
        }
    }
}

/// What the AEAD takes as nonce of packet `pn`: twelve bytes of the IV, the number in the last eight.
#[inline]
pub(crate) fn packet_nonce(cipher: Cipher, iv: &[u8; 24], pn: u32) -> [u8; 12] {
    let mut nonce = [0u8; 12];
    match cipher {
        Cipher::Aes256Gcm => nonce.copy_from_slice(&iv[..12]),
        Cipher::XChaCha20Poly1305 => nonce[4..].copy_from_slice(&iv[16..]),
    }
    for (byte, number) in nonce[8..].iter_mut().zip(pn.to_be_bytes()) {
        *byte ^= number;
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aead::tests::hex;

    fn key_of(pn: u32) -> [u8; 32] {
        let (mut chain, _) = first_chain(Direction::InitiatorToResponder, 0, &[0x33; 32]);
        for _ in 0..pn / 256 {
            next_chain(&mut chain);
        }
        let mut step = block_key(&chain, pn / 256);
        for _ in 0..pn % 256 {
            next_step(&mut step);
        }
        message_key(&step, pn).0
    }

    #[test]
    fn ratchet_vectors() {
        let (mut chain, iv) = first_chain(Direction::InitiatorToResponder, 0, &[0x33; 32]);
        assert_eq!(
            chain.0.to_vec(),
            hex("298968d042edb13806d52f3c6842468144458b66986c7ba99fbd757fc0a636f8")
        );
        assert_eq!(iv.to_vec(), hex("2e0eacecd344d3bce581b8b1cb6cfcd533fa22dc4ec1f55e"));
        next_chain(&mut chain);
        assert_eq!(
            chain.0.to_vec(),
            hex("0b7f87455cb11eae244a947631df0ad7526d04a4213ac6f8cf1ac5796e290d50")
        );
        for (pn, want) in [
            (0, "1b206c879b789f31e2449ff681ecaed8f0ebf6ef43ce0edc3a0b4e436c488713"),
            (1, "c063a7d11b7a3a87cdfca6f4ef015b1f4260716367edfa852bfbeb39956ff603"),
            (255, "09990e5b07151ea8ad0ceb4448fbb49764779cd5957e2392675c4f4c7d8158bc"),
            (256, "bde3200d9c0f39c35e2edb4b47a3becf088d7be1ba276ce148dc31184b853ce5"),
            (1000, "38a7588c895b40b46f963afe5f3d582de0e17fe9964447b93c3f948d5654e8b0"),
        ] {
            assert_eq!(key_of(pn).to_vec(), hex(want), "message key of packet {pn}");
        }
        let nonce = packet_nonce(Cipher::XChaCha20Poly1305, &iv, 1000);
        assert_eq!(
            [&nonce_prefix(&iv)[..], &nonce[4..]].concat(),
            hex("2e0eacecd344d3bce581b8b1cb6cfcd533fa22dc4ec1f6b6")
        );
        assert_eq!(nonce[..4], [0; 4]);
    }

    #[test]
    fn aes_nonce_keeps_the_first_four_bytes() {
        let iv: [u8; 24] = core::array::from_fn(|i| i as u8);
        let nonce = |pn| packet_nonce(Cipher::Aes256Gcm, &iv, pn);
        assert_eq!(nonce(0), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(nonce(0x0102_0304)[8..], [8 ^ 1, 9 ^ 2, 10 ^ 3, 11 ^ 4]);
    }

    #[test]
    fn a_batch_gives_the_same_keys() {
        for cipher in [Cipher::Aes256Gcm, Cipher::XChaCha20Poly1305] {
            for n in [1, 2, 3, 8, 9, 16] {
                let mut batch = crate::batch::Batch::new();
                for (i, step) in batch.steps.iter_mut().enumerate() {
                    *step = [i as u8 + 1; 32];
                }
                batch.derive(cipher, &[7; 24], 4, 500, n);
                for i in 0..n {
                    let key = message_key(&Key([i as u8 + 1; 32]), 500 + i as u32);
                    assert_eq!(*batch.key(i), packet_key(cipher, &[7; 24], key).0, "{i} of {n}");
                }
                assert_eq!(batch.position(4, 500), Some(0));
                assert_eq!(batch.position(5, 500), None);
                assert_eq!(batch.position(4, 499), None);
                assert_eq!(batch.position(4, 500 + n as u32), None);
            }
        }
    }

    #[test]
    fn header_mask_and_cid_vectors() {
        let hp = blake3::derive_key("wraith-v2 header i2r", &[0x42; 32]);
        assert_eq!(
            hp.to_vec(),
            hex("2c95ee0abb346c3d976ff42aa43eca7f2874dda10360ecf4d780661469eff899")
        );
        let sample: [u8; 16] = core::array::from_fn(|i| i as u8);
        assert_eq!(keyed_hash(&hp, &sample)[..13].to_vec(), hex("2b992e6e7de5716627b5f1cf9c"));
        assert_eq!(keyed_hash(&[0x24; 32], &sample)[..8].to_vec(), hex("d96f5e5f0df4a77f"));
        let cid_key = blake3::derive_key("wraith-v2 cid r", &[0x42; 32]);
        assert_eq!(connection_id(&cid_key, 1).to_vec(), hex("667b0711c9fddfaa"));
    }
}
