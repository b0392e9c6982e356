//! Decompression of layers and archives. What the bytes say counts, not the media type: the two disagree in
//! the wild.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Compressed input is read in pieces of this size.
const INPUT: usize = 128 * 1024;

/// Methods that are recognised only to be named.
const FOREIGN: [(&[u8], &str); 3] = [(b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")];

/// Reads a stream that may be compressed.
pub(super) enum Inflate<R: Read> {
    Plain(Opened<R>),
    Gzip(Box<MultiGzDecoder<Opened<R>>>),
    Zstd(Box<Zstd<Opened<R>>>),
}

/// The stream, with the bytes that were looked at put back.
type Opened<R> = BufReader<io::Chain<Cursor<Vec<u8>>, R>>;

/// How a stream can fail to be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Compressed with a method Isopod does not know.
    Foreign(&'static str),
    /// The stream cannot be read.
    Io(io::Error),
}

impl<R: Read> Inflate<R> {
    /// Looks at the first bytes of `stream` and chooses.
    pub fn open(mut stream: R) -> Result<Self, OpenError> {
        let mut head = Vec::new();
        stream.by_ref().take(6).read_to_end(&mut head).map_err(OpenError::Io)?;
        if let Some((_, method)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(OpenError::Foreign(method));
        }
        let gzip = head.starts_with(b"\x1f\x8b");
        // A zstd stream may begin with a skippable frame (RFC 8878, 3.1.2).
        let zstd = head.starts_with(b"\x28\xb5\x2f\xfd")
            || (head.len() > 3 && head[0] & 0xf0 == 0x50 && head[1..4] == *b"\x2a\x4d\x18");
        let stream = BufReader::with_capacity(INPUT, Cursor::new(head).chain(stream));
        Ok(match (gzip, zstd) {
            (true, _) => Self::Gzip(Box::new(MultiGzDecoder::new(stream))),
            (_, true) => Self::Zstd(Box::new(Zstd { stream, decoder: FrameDecoder::new(), in_frame: false })),
            _ => Self::Plain(stream),
        })
    }

    /// Whether the stream is compressed.
    pub fn is_compressed(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buf),
            Self::Gzip(stream) => stream.read(buf),
            Self::Zstd(stream) => stream.read(buf),
        }
    }
}

/// Reads zstd frames one after another; `ruzstd` itself ends with the first.
pub(super) struct Zstd<R> {
    stream: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let invalid = |error: FrameDecoderError| io::Error::new(io::ErrorKind::InvalidData, error);
        loop {
            if self.in_frame {
                while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                    self.decoder
                        .decode_blocks(&mut self.stream, BlockDecodingStrategy::UptoBlocks(1))
                        .map_err(invalid)?;
                }
                let n = self.decoder.read(buf)?;
                if n > 0 || buf.is_empty() {
                    return Ok(n);
                }
                self.in_frame = false;
            }
            if self.stream.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match self.decoder.reset(&mut self.stream) {
                Ok(()) => self.in_frame = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(&mut self.stream.by_ref().take(length.into()), &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn inflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match Inflate::open(bytes) {
            Ok(mut stream) => stream.read_to_end(&mut out)?,
            Err(error) => panic!("{error:?}"),
        };
        Ok(out)
    }

    #[test]
    fn members_and_frames_follow_one_another() {
        assert_eq!(inflate(&[gzip(b"one "), gzip(b"two")].concat()).unwrap(), b"one two");
        let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
        let frames = [skippable.as_slice(), &zstd(b"one "), skippable, &zstd(b"two"), skippable].concat();
        assert_eq!(inflate(&frames).unwrap(), b"one two");
    }

    #[test]
    fn short_and_empty_streams_are_plain() {
        for plain in [b"".as_slice(), b"\x1f", b"(\xb5/", b"P*M"] {
            assert_eq!(inflate(plain).unwrap(), plain);
        }
    }

    #[test]
    fn what_was_cut_off_is_an_error() {
        let data: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        for whole in [gzip(&data), zstd(&data)] {
            for cut in [whole.len() - 1, whole.len() / 2, 7] {
                inflate(&whole[..cut]).expect_err("cut");
            }
        }
        inflate(b"\x50\x2a\x4d\x18\x09\0\0\0abc").expect_err("a skippable frame that ends early");
    }

    #[test]
    fn unknown_methods_are_named() {
        for (bytes, name) in [(b"\xfd7zXZ\0..".as_slice(), "xz"), (b"BZh91AY", "bzip2")] {
            assert!(matches!(Inflate::open(bytes), Err(OpenError::Foreign(method)) if method == name));
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(data: Vec<u8>) {
            prop_assert_eq!(&inflate(&gzip(&data)).unwrap(), &data);
            prop_assert_eq!(&inflate(&zstd(&data)).unwrap(), &data);
        }

        #[test]
        fn damaged_streams_never_panic(mut data: Vec<u8>, at: prop::sample::Index, bits: u8) {
            data.extend(b"some text that compresses, some text that compresses");
            for mut stream in [gzip(&data), zstd(&data)] {
                let at = at.index(stream.len() - 6) + 6;
                stream[at] ^= bits;
                let _ = inflate(&stream);
            }
        }
    }
}
