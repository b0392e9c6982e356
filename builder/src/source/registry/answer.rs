//! Reading answers, of which a registry must not decide how much memory they take.

use reqwest::Response;

use super::failure::Failure;

/// How much of the body of a refusal is looked at, in bytes.
const REFUSAL: usize = 64 << 10;

/// The answer if its status is a success, else what it says.
pub(super) async fn success(response: Response) -> Result<Response, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let (mut body, _) = beginning(response, REFUSAL).await?;
    body.truncate(REFUSAL);
    Err(Failure::answered(status, &body))
}

/// The body of an answer, if it has at most `most` bytes.
pub(super) async fn body(response: Response, most: usize) -> Result<Vec<u8>, Failure> {
    match beginning(response, most).await? {
        (body, true) => Ok(body),
        (_, false) => Err(Failure::Other(format!("a document of more than {most} bytes"))),
    }
}

/// A body up to the chunk with which it is longer than `most` bytes, and whether that is all of it.
async fn beginning(mut response: Response, most: usize) -> Result<(Vec<u8>, bool), Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > most {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}
