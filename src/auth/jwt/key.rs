//! One public key of a JWKS (RFC 7517, section 4).

use std::fmt;

use super::{
    algorithm::Algorithm,
    jwk::{Jwk, Member, Name},
    token::Token,
};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The modulus of an RSA key, in bytes: at least 2048 bits (RFC 7518, section 3.3), and at most 4096, because the time
/// that a signature takes grows with the square of it.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

/// The longest exponent of an RSA key, in bytes. All but a few keys have 65537.
const MAX_EXPONENT: usize = 4;

/// A public key, for each algorithm that it may be used with. The key decides which these are, and not the token.
pub(super) struct Key {
    pub(super) id: Option<String>,
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
}

impl Key {
    /// A key of a JWKS. `None` if it is not one that signatures are verified with, or if its type is not supported.
    pub(super) fn parse(jwk: &Jwk) -> Option<Self> {
        let is_for_signatures = jwk.get(Name::Use).is_none() || jwk.text(Name::Use) == Some("sig");
        let verifies = |operations: &Member| *operations == Member::List { has_verify: true };
        if !is_for_signatures || !jwk.get(Name::KeyOps).is_none_or(verifies) {
            return None;
        }
        let id = match jwk.get(Name::Kid) {
            None => None,
            Some(_) => Some(jwk.text(Name::Kid)?.to_owned()),
        };
        let mut parsed = public_key(jwk)?;
        if jwk.get(Name::Alg).is_some() {
            let only = Algorithm::named(jwk.text(Name::Alg)?)?;
            parsed.retain(|(algorithm, _)| *algorithm == only);
        }
        (!parsed.is_empty()).then_some(Self { id, parsed })
    }

    /// Whether the key may be used with this algorithm.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.parsed.iter().any(|(own, _)| *own == algorithm)
    }

    /// Whether the token was signed with this key.
    pub(super) fn verifies(&self, token: &Token<'_>) -> bool {
        let key = self.parsed.iter().find(|(own, _)| *own == token.algorithm);
        let signature = URL_SAFE_NO_PAD.decode(token.signature);
        key.zip(signature.ok())
            .is_some_and(|((_, key), signature)| key.verify_sig(token.message.as_bytes(), &signature).is_ok())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The key for each algorithm that its type allows.
fn public_key(jwk: &Jwk) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    match (jwk.text(Name::Kty)?, jwk.text(Name::Crv)) {
        ("RSA", _) => rsa(jwk),
        ("EC", Some("P-256")) => ec(jwk, 32, &ECDSA_P256_SHA256_FIXED, Algorithm::Es256),
        ("EC", Some("P-384")) => ec(jwk, 48, &ECDSA_P384_SHA384_FIXED, Algorithm::Es384),
        ("OKP", Some("Ed25519")) => {
            let x = member(jwk, Name::X).filter(|x| x.len() == 32)?;
            Some(vec![(Algorithm::EdDsa, ParsedPublicKey::new(&ED25519, x).ok()?)])
        }
        _ => None,
    }
}

fn rsa(jwk: &Jwk) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    // Some issuers write leading zeros, which aws-lc-rs does not accept.
    let number =
        |name| Some(member(jwk, name)?.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>());
    let (n, e) = (number(Name::N)?, number(Name::E)?);
    if !MODULUS.contains(&n.len()) || !(1..=MAX_EXPONENT).contains(&e.len()) {
        return None;
    }
    let components = RsaPublicKeyComponents { n, e };
    let parsed = |algorithm: &Algorithm| {
        let parameters = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
        };
        Some((*algorithm, components.to_parsed_public_key(parameters).ok()?))
    };
    Algorithm::RSA.iter().map(parsed).collect()
}

/// A key on an elliptic curve whose coordinates have `length` bytes.
fn ec(
    jwk: &Jwk,
    length: usize,
    curve: &'static dyn VerificationAlgorithm,
    algorithm: Algorithm,
) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    let coordinate = |name| member(jwk, name).filter(|bytes| bytes.len() == length);
    // SEC 1, section 2.3.3: an uncompressed point.
    let point = [&[4], coordinate(Name::X)?.as_slice(), coordinate(Name::Y)?.as_slice()].concat();
    Some(vec![(algorithm, ParsedPublicKey::new(curve, point).ok()?)])
}

fn member(jwk: &Jwk, name: Name) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(jwk.text(name)?).ok()
}
