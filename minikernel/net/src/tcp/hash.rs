//! Keyed hashes: one that nobody can predict for what a peer must not guess, and a quick one that only spreads the flows.

use core::net::IpAddr;

use super::Flow;

/// A key. It comes from the kernel's random numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(pub u64, pub u64);

impl Key {
    /// SipHash-2-4 of a flow and a number (Aumasson and Bernstein, 2012).
    pub fn sip(self, flow: &Flow, extra: u64) -> u64 {
        let [a, b] = words(flow.local.address);
        let [c, d] = words(flow.remote.address);
        let ports = u64::from(flow.local.port) << 16 | u64::from(flow.remote.port);
        self.sip_words(&[a, b, c, d, ports, extra])
    }

    fn sip_words(self, words: &[u64]) -> u64 {
        let mut v = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        // The last block holds the length in its highest byte.
        let end = (words.len() as u64 * 8) << 56;
        for &word in words.iter().chain(core::iter::once(&end)) {
            v[3] ^= word;
            sip_round(&mut v);
            sip_round(&mut v);
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        for _ in 0..4 {
            sip_round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }

    /// Where a flow stands in a table: multiplications folded in half, and their result mixed so that each bit depends on each bit of the flow.
    #[inline]
    pub fn spread(self, flow: &Flow) -> u32 {
        let [a, b] = words(flow.local.address);
        let [c, d] = words(flow.remote.address);
        let ports = u64::from(flow.local.port) << 16 | u64::from(flow.remote.port);
        let mut hash = fold(d ^ self.0, ports ^ b ^ self.1);
        if a | c != 0 {
            hash = fold(hash ^ a, c ^ self.1);
        }
        mix(hash) as u32
    }
}

fn fold(a: u64, b: u64) -> u64 {
    // A zero factor would hide the other.
    let product = u128::from(a) * u128::from(b | 1);
    product as u64 ^ (product >> 64) as u64 ^ b
}

/// Spreads a difference in any bit over all of them (`MurmurHash3`'s finaliser, Appleby): a product alone walks in even steps when the ports do, and
/// with one key in twenty twenty neighbouring ports would keep its highest bits.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// An address as two words; one of IPv4 in the second, as its mapped form has it.
fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(address) => [0, 0xffff_0000_0000 | u64::from(address.to_bits())],
        IpAddr::V6(address) => [(address.to_bits() >> 64) as u64, address.to_bits() as u64],
    }
}

fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::Endpoint;
    use core::net::Ipv4Addr;

    #[test]
    fn siphash_gives_the_values_of_its_authors() {
        // The reference vectors: key and message are 00 01 02 ...
        let key = Key(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(key.sip_words(&[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(key.sip_words(&[0x0706_0504_0302_0100]), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn neighbouring_flows_are_spread() {
        let mut buckets = [0u32; 64];
        for port in 0..6400 {
            let local = Endpoint::new(Ipv4Addr::new(10, 0, 0, 1).into(), 80);
            let remote = Endpoint::new(Ipv4Addr::new(10, 0, 0, 2).into(), 30000 + port);
            buckets[Key(0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3217).spread(&Flow { local, remote })
                as usize
                % 64] += 1;
        }
        assert!(buckets.iter().all(|&count| (50..200).contains(&count)), "{buckets:?}");
    }

    #[test]
    fn with_any_key_both_halves_get_some_of_a_peers_flows() {
        let local = Endpoint::new(Ipv4Addr::LOCALHOST.into(), 80);
        for seed in 1..2000u64 {
            let key = Key(mix(seed), mix(seed << 32));
            let upper = (0..20)
                .map(|n| Endpoint::new(Ipv4Addr::LOCALHOST.into(), 40000 + 2 * n))
                .filter(|&remote| key.spread(&Flow { local, remote }) >> 31 == 1)
                .count();
            assert!((1..20).contains(&upper), "{key:?}: {upper} of 20");
        }
    }
}
