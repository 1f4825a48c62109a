//! The algorithms of signatures (RFC 7518, section 3; RFC 8037, section 3.1).

/// A signature algorithm that Longshore accepts. HMAC is left out, because its key would be a secret that the issuer
/// and Longshore share. `none` is left out, because it is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// Those with an RSA key.
    pub(super) const RSA: &[Self] =
        &[Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Ps384, Self::Ps512];

    /// All of them, with their names in `alg`.
    const NAMES: [(&str, Self); 10] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
        // RFC 9864.
        ("Ed25519", Self::EdDsa),
    ];

    /// The algorithm with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}
