//! What is signed, taken apart by other people's code: ring and the openssl command verify.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};

use super::*;
use crate::identity::load;
use crate::identity::pems::{self, pem};

const NOW: u64 = 1_800_000_000;

struct Parts {
    header: Value,
    claims: Value,
    signed: String,
    signature: Vec<u8>,
}

fn params(algorithm: Algorithm, send_chain: bool) -> AssertionParams {
    AssertionParams {
        algorithm,
        send_chain,
        client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        audience: "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token".to_owned(),
    }
}

fn assertion(algorithm: Algorithm, send_chain: bool) -> Parts {
    let (pair, _) = load(&pem("chain-ca-first.pem"), NOW).unwrap();
    let assertion = sign(&pair, &params(algorithm, send_chain), NOW).unwrap();
    let (signed, signature) = assertion.expose().rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    // The engine refuses padding and the standard alphabet.
    let json = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    Parts {
        header: json(header),
        claims: json(claims),
        signed: signed.to_owned(),
        signature: URL_SAFE_NO_PAD.decode(signature).unwrap(),
    }
}

/// A digest of the leaf, or a whole certificate, as openssl has it.
fn openssl(arguments: &str, name: &str) -> Vec<u8> {
    let out = Command::new("openssl").args(arguments.split(' ')).arg(pem(name)).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn fingerprint(digest: &str) -> String {
    let out =
        String::from_utf8(openssl(&format!("x509 -noout -fingerprint {digest} -in"), "leaf.crt")).unwrap();
    let bytes =
        out.trim().rsplit('=').next().unwrap().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    URL_SAFE_NO_PAD.encode(bytes.collect::<Vec<u8>>())
}

fn verifies(parts: &Parts, parameters: &'static RsaParameters) -> bool {
    let key = fs::read(pem("leaf.pub.der")).unwrap();
    UnparsedPublicKey::new(parameters, key).verify(parts.signed.as_bytes(), &parts.signature).is_ok()
}

#[test]
fn the_header_is_the_documented_one_and_no_more() {
    assert_eq!(
        assertion(Algorithm::Ps256, false).header,
        json!({"alg": "PS256", "typ": "JWT", "x5t#S256": fingerprint("-sha256")})
    );
    assert_eq!(
        assertion(Algorithm::Rs256, false).header,
        json!({"alg": "RS256", "typ": "JWT", "x5t": fingerprint("-sha1")})
    );
}

#[test]
fn the_chain_is_sent_in_standard_base64_leaf_first() {
    let header = assertion(Algorithm::Ps256, true).header;
    let chain = ["leaf.crt", "ca.crt"].map(|name| STANDARD.encode(openssl("x509 -outform DER -in", name)));
    assert_eq!(
        header,
        json!({"alg": "PS256", "typ": "JWT", "x5t#S256": fingerprint("-sha256"), "x5c": chain})
    );
    assert!(assertion(Algorithm::Rs256, true).header["x5c"].is_array());
}

#[test]
fn the_claims_are_strings_and_whole_numbers() {
    let claims = assertion(Algorithm::Ps256, false).claims;
    let keys: BTreeSet<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["aud", "exp", "iat", "iss", "jti", "nbf", "sub"]));
    assert_eq!(claims["aud"], "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token");
    assert_eq!(claims["iss"], "11111111-2222-3333-4444-555555555555");
    assert_eq!(claims["sub"], claims["iss"]);
    // Compared as integers: 1.8e9 would not be equal.
    assert_eq!(
        (&claims["iat"], &claims["nbf"], &claims["exp"]),
        (&json!(NOW - 120), &json!(NOW - 120), &json!(NOW + 480))
    );
    let in_1970 = super::claims(&params(Algorithm::Ps256, false), 60).unwrap();
    assert_eq!((&in_1970["nbf"], &in_1970["exp"]), (&json!(0), &json!(600)), "a clock that was never set");
}

#[test]
fn every_assertion_has_a_new_random_uuid() {
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let uuid = uuid().unwrap();
        let shape: String = uuid.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
        assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
        assert_eq!(&uuid[14..15], "4", "{uuid}");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        assert!(seen.insert(uuid));
    }
}

#[test]
fn ring_verifies_each_algorithm_and_not_the_other() {
    let ps256 = assertion(Algorithm::Ps256, false);
    assert!(verifies(&ps256, &RSA_PSS_2048_8192_SHA256));
    assert!(!verifies(&ps256, &RSA_PKCS1_2048_8192_SHA256));
    let mut rs256 = assertion(Algorithm::Rs256, false);
    assert!(verifies(&rs256, &RSA_PKCS1_2048_8192_SHA256));
    assert!(!verifies(&rs256, &RSA_PSS_2048_8192_SHA256));
    rs256.signed.push('x');
    assert!(!verifies(&rs256, &RSA_PKCS1_2048_8192_SHA256));
}

#[test]
fn openssl_verifies_with_a_salt_of_32_bytes() {
    let directory = pems::scratch("openssl");
    let (data, signature) = (directory.join("data"), directory.join("signature"));
    let verify = |parts: &Parts, options: &[&str]| {
        fs::write(&data, &parts.signed).unwrap();
        fs::write(&signature, &parts.signature).unwrap();
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256", "-verify"]).arg(pem("leaf.pub")).args(options);
        command.arg("-signature").arg(&signature).arg(&data).output().unwrap().status.success()
    };
    let pss = |salt| ["-sigopt", "rsa_padding_mode:pss", "-sigopt", salt];
    let ps256 = assertion(Algorithm::Ps256, false);
    assert!(verify(&ps256, &pss("rsa_pss_saltlen:32")));
    assert!(!verify(&ps256, &pss("rsa_pss_saltlen:20")));
    assert!(verify(&assertion(Algorithm::Rs256, false), &[]));
    fs::remove_dir_all(directory).unwrap();
}
