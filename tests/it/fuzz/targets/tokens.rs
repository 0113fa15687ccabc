//! Tokens: what strangers send as such, and what stands inside.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use switchboard::{
    domain::{
        codes::Code,
        error::{Error, Result},
    },
    service::tokens::claims::{Claims, PartnerClaims, Subject, algorithm, decode},
};

const SECRET: &[u8] = b"the key of the fuzz targets";

/// The input as a token, and as the claims of one that is signed with the right key.
pub fn read(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    // Whatever it claims: only two algorithms are ever tried.
    assert!(matches!(algorithm(&text), None | Some(Algorithm::HS256 | Algorithm::RS256)));
    let sent = match decode::<Claims>(&text, &DecodingKey::from_secret(SECRET), Algorithm::HS256) {
        Ok(claims) => claims.is_some_and(|claims| known(&claims)),
        Err(error) => refused(&error),
    };
    let other = decode::<Claims>(&text, &DecodingKey::from_secret(b"another key"), Algorithm::HS256);
    assert!(!matches!(other, Ok(Some(_))), "signed with a key that nobody has");
    sent | signed(data)
}

/// Every refusal looks alike.
fn refused(error: &Error) -> bool {
    assert_eq!((error.code(), error.message()), (Code::InvalidToken, "invalid token"));
    false
}

fn signed(claims: &[u8]) -> bool {
    let token = sign(claims);
    assert_eq!(algorithm(&token), Some(Algorithm::HS256));
    for tampered in [format!("{token}A"), token.replacen("eyJ", "eyK", 1), token.replacen('.', ".e", 1)] {
        let read: Result<Option<Claims>> =
            decode(&tampered, &DecodingKey::from_secret(SECRET), Algorithm::HS256);
        assert!(!matches!(read, Ok(Some(_))), "{tampered}");
    }
    let key = DecodingKey::from_secret(SECRET);
    if let Err(error) = decode::<PartnerClaims>(&token, &key, Algorithm::HS256) {
        refused(&error);
    }
    match decode::<Claims>(&token, &key, Algorithm::HS256) {
        Ok(claims) => known(&claims.expect("the signature is right")),
        Err(error) => refused(&error),
    }
}

/// Claims that were read are the same when they are signed anew, and their subject is one of the kinds that there are.
fn known(claims: &Claims) -> bool {
    let again = claims.sign(&EncodingKey::from_secret(SECRET)).expect("claims can be signed");
    let again = decode::<Claims>(&again, &DecodingKey::from_secret(SECRET), Algorithm::HS256);
    let again = again.expect("ours").expect("ours");
    assert_eq!(
        serde_json::to_value(claims).expect("claims are JSON"),
        serde_json::to_value(&again).expect("claims are JSON")
    );
    let Some(subject) = Subject::parse(&claims.sub) else { return false };
    assert_eq!(subject.text(), claims.sub);
    assert_eq!(claims.sub.split_once(':').expect("a kind and an id").1, subject.id());
    let mask = claims.mask(subject);
    assert!(claims.pem.get(subject.set()).is_none_or(|granted| *granted == mask.0));
    claims.are_ours()
}

fn sign(claims: &[u8]) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(br#"{"typ":"JWT","alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    format!("{message}.{}", signature.expect("HMAC signs anything"))
}
