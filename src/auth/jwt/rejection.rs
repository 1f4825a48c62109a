//! Why a JWT is not accepted.

/// Why a JWT is not accepted. `Display` is for the caller: it says only what follows from the token itself, so that
/// callers cannot learn which issuers, audiences and claims are configured. The log has the whole reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtRejection {
    /// The token violates the format of JWTs, or has something that is not supported.
    #[error("the bearer token is a JWT that cannot be accepted: {0}")]
    Malformed(&'static str),
    /// The token has expired, and no caller's leeway covers the difference.
    #[error("the bearer token, a JWT, has expired: send a new one")]
    Expired,
    /// The token is from the future, and no caller's leeway covers the difference.
    #[error("the bearer token, a JWT, is not valid yet: check the clock of its issuer")]
    NotYetValid,
    /// No caller has the token's issuer, audience and claims.
    #[error("{UNKNOWN}")]
    NoCaller,
    /// The callers' issuers have no key with the token's key id and algorithm.
    #[error("{UNKNOWN}")]
    KeyUnknown,
    /// The signature was not made with the issuer's key.
    #[error("{UNKNOWN}")]
    Signature,
}

const UNKNOWN: &str =
    "no caller of this server has the bearer token, a JWT: check its issuer, audience, claims and signature";

impl JwtRejection {
    /// The reason, for the log.
    pub fn for_log(self) -> String {
        match self {
            Self::NoCaller => "no caller's `jwt` has the issuer, audience and claims of the JWT".to_owned(),
            Self::KeyUnknown => "the JWKS of the JWT's issuer has no key with its `kid` and `alg`".to_owned(),
            Self::Signature => "the signature of the JWT is wrong".to_owned(),
            Self::Malformed(_) | Self::Expired | Self::NotYetValid => self.to_string(),
        }
    }
}
