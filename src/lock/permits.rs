//! The permits of a name, of which several sessions can hold one each.

use super::key::LockKey;

/// The keys of a number of permits. How they are derived is a wire format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permits {
    /// Whoever waits for a permit queues here.
    pub(crate) gate: LockKey,
    /// One for each permit.
    pub(crate) keys: Vec<LockKey>,
}

/// More than this make statements that are too long to be sent for each lock.
pub(crate) const MOST: u32 = 1_000;

impl Permits {
    pub(crate) fn of(name: &str, count: u32) -> Self {
        Self {
            gate: key(name, 0),
            keys: (1..=count).map(|number| key(name, number)).collect(),
        }
    }
}

/// The key of a permit, counted from 1, or of the gate, which is 0. No name that a person writes has a null
/// character in it.
pub(crate) fn key(name: &str, number: u32) -> LockKey {
    LockKey::from_name(&format!("{name}\0#{number}"))
}

#[cfg(test)]
mod tests {
    use super::Permits;
    use crate::lock::key::LockKey;

    #[test]
    fn permits_and_their_gate_have_their_golden_keys() {
        let golden = |hex: u64| LockKey::BigInt(i64::from_be_bytes(hex.to_be_bytes()));
        let permits = Permits {
            gate: golden(0x2fa7_6eb2_0afa_bcdf),
            keys: vec![
                golden(0xd129_75d1_ca09_3731),
                golden(0xae11_04a1_a745_7775),
                golden(0x8055_524a_dc29_7a5f),
            ],
        };
        assert_eq!(Permits::of("render", 3), permits);
    }

    #[test]
    fn a_larger_number_has_the_permits_of_a_smaller_one() {
        let (two, three) = (Permits::of("x", 2), Permits::of("x", 3));
        assert_eq!(two.gate, three.gate);
        assert_eq!(two.keys, three.keys[..2]);
    }
}
