//! Files from the Hugging Face hub, kept where Python's `huggingface_hub` looks for them too.
//!
//! `HF_HOME` (or `HF_HUB_CACHE`) says where, `HF_ENDPOINT` names a mirror, `HF_TOKEN` goes along
//! with requests to it and to no other host, `HF_HUB_OFFLINE=1` forbids all requests,
//! `HF_HUB_DOWNLOAD_TIMEOUT` says how many seconds may pass without anything arriving. A file that
//! is there already is taken without asking anybody.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use ureq::http::{Response, Uri};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body, ResponseExt};

/// Largest file taken.
const MAX_FILE: u64 = 8 << 30;
/// Hops from the hub to where a file lies.
const MAX_REDIRECTS: u32 = 5;
/// Seconds in which something has to arrive.
const PATIENCE: u64 = 60;

/// A file on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `OWNER/NAME`.
    pub repository: String,
    /// Path within it.
    pub file: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// A file in the cache.
pub struct Cached {
    /// Where it lies.
    pub path: PathBuf,
    /// The commit it is of.
    pub commit: String,
    /// SHA-256 of its content, in hexadecimal digits, as checked just now.
    pub sha256: String,
    /// Whether it was there before.
    pub kept: bool,
}

/// How much of a file is there, and of how much where that is known.
pub type Report<'a> = &'a mut dyn FnMut(u64, Option<u64>);

impl Remote {
    /// A file by names that can do no harm in a path or an address.
    pub fn new(repository: &str, file: &str, revision: &str) -> Result<Self> {
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let parts = |text: &str| text.split('/').all(plain);
        if repository.split('/').count() != 2 || !parts(repository) {
            bail!("`{repository}` is no repository of the hub; those are written OWNER/NAME");
        }
        if !parts(file) || !parts(revision) {
            bail!("`{file}` at `{revision}` is no file of a repository");
        }
        Ok(Self { repository: repository.into(), file: file.into(), revision: revision.into() })
    }

    /// Where it can be had.
    pub fn url(&self) -> String {
        let Self { repository, file, revision } = self;
        format!("{}/{repository}/resolve/{revision}/{file}", endpoint())
    }

    fn folder(&self) -> Result<PathBuf> {
        Ok(cache()?.join(format!("models--{}", self.repository.replace('/', "--"))))
    }

    /// The file, from the cache or the hub.
    pub fn fetch(&self, report: Report) -> Result<Cached> {
        let folder = self.folder()?;
        if let Some(cached) = self.cached(&folder)? {
            return Ok(cached);
        }
        if env::var("HF_HUB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0")) {
            bail!(
                "not downloaded yet, and HF_HUB_OFFLINE forbids asking the hub\n{}",
                self.by_hand()
            );
        }
        self.download(&folder, report)
    }

    /// What a person can do who has no network.
    fn by_hand(&self) -> String {
        format!(
            "without a network: download {} elsewhere, copy it here and use `inception import`; \
             HF_ENDPOINT names a mirror of the hub, HTTPS_PROXY a proxy",
            self.url()
        )
    }

    /// The file if it is in the cache, checked against the sum taken when it came.
    fn cached(&self, folder: &Path) -> Result<Option<Cached>> {
        let reference = fs::read_to_string(folder.join("refs").join(&self.revision));
        let commit = reference.unwrap_or_else(|_| self.revision.clone()).trim().to_owned();
        if !is_commit(&commit) {
            return Ok(None);
        }
        let path = folder.join("snapshots").join(&commit).join(&self.file);
        let Ok(mut file) = File::open(&path) else { return Ok(None) };
        let unreadable = || format!("cannot read {}", path.display());
        let mut hasher = Sha256::new();
        io::copy(&mut file, &mut Hashing(&mut hasher)).with_context(unreadable)?;
        let sha256 = hexadecimal(&hasher.finalize());
        // Python names large files by their sum and links to them.
        let target = fs::canonicalize(&path).with_context(unreadable)?;
        let by_name = target.file_name().map(|name| name.to_string_lossy().into_owned());
        let wanted = fs::read_to_string(sum_of(&path)).ok().or(by_name.filter(|n| is_sum(n)));
        if wanted.is_some_and(|wanted| wanted.trim() != sha256) {
            bail!(
                "{} is no longer what was downloaded (its SHA-256 is now {sha256}); delete it and \
                 pull again",
                path.display()
            );
        }
        Ok(Some(Cached { path, commit, sha256, kept: true }))
    }

    fn download(&self, folder: &Path, report: Report) -> Result<Cached> {
        let agent = agent()?;
        let url = self.url();
        let unreachable =
            |cause: String| anyhow!("cannot download {url}: {cause}\n{}", self.by_hand());
        let mut asked = url.clone();
        let mut response = request(&agent, &asked).map_err(|e| unreachable(e.to_string()))?;
        let header = |response: &Response<Body>, name: &str| {
            Some(response.headers().get(name)?.to_str().ok()?.trim_matches('"').to_owned())
        };
        // Said by the hub itself, before it sends us on to where the bytes lie.
        let commit = header(&response, "x-repo-commit").filter(|commit| is_commit(commit));
        let sum = header(&response, "x-linked-etag").filter(|sum| is_sum(sum));
        let size = header(&response, "x-linked-size").and_then(|size| size.parse::<u64>().ok());
        for _ in 0..MAX_REDIRECTS {
            if !response.status().is_redirection() {
                break;
            }
            let to = header(&response, "location").context("a redirection to nowhere")?;
            asked = destination(&asked, &to).map_err(|e| unreachable(e.to_string()))?;
            response = request(&agent, &asked).map_err(|e| unreachable(e.to_string()))?;
        }
        match response.status().as_u16() {
            200 => {}
            401 | 403 => bail!(
                "{url}: the hub wants to know who asks; set HF_TOKEN to a token that may read it"
            ),
            404 => bail!("{url}: the hub has no such file"),
            status => bail!("{url}: the hub answered {status}, from {}", response.get_uri()),
        }
        let length = header(&response, "content-length").and_then(|length| length.parse().ok());
        let size = size.or(length);
        let commit = commit.ok_or_else(|| {
            anyhow!("{url}: the answer names no commit, so it is not from a hub; check HF_ENDPOINT")
        })?;
        let path = folder.join("snapshots").join(&commit).join(&self.file);
        let parent = path.parent().unwrap_or(folder);
        let unwritable = || format!("cannot write {}", path.display());
        fs::create_dir_all(parent).with_context(unwritable)?;
        let mut file = tempfile::NamedTempFile::new_in(parent).with_context(unwritable)?;
        let mut body = response.into_body().into_with_config().limit(MAX_FILE).reader();
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut done = 0;
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_timeout(&error) => {
                    let seconds = patience().as_secs();
                    let cause = format!("nothing arrived for {seconds} s after {done} bytes");
                    return Err(unreachable(cause));
                }
                Err(error) => return Err(unreachable(error.to_string())),
            };
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read]).with_context(unwritable)?;
            done += read as u64;
            report(done, size);
        }
        if size.is_some_and(|size| size != done) {
            bail!("{url}: cut off after {done} bytes of {}; pull again", size.unwrap_or(0));
        }
        let sha256 = hexadecimal(&hasher.finalize());
        if let Some(sum) = sum.filter(|sum| *sum != sha256) {
            bail!(
                "{url}: damaged on the way: its SHA-256 is {sha256}, the hub says {sum}; pull again"
            );
        }
        file.as_file().sync_all().with_context(unwritable)?;
        file.persist(&path).map_err(|error| error.error).with_context(unwritable)?;
        fs::write(sum_of(&path), &sha256).with_context(unwritable)?;
        let reference = folder.join("refs").join(&self.revision);
        if !is_commit(&self.revision) {
            fs::create_dir_all(reference.parent().unwrap_or(folder)).with_context(unwritable)?;
            fs::write(&reference, &commit).with_context(unwritable)?;
        }
        Ok(Cached { path, commit, sha256, kept: false })
    }
}

/// One request, redirections not followed: the token is for the hub's own host alone.
fn request(agent: &Agent, url: &str) -> Result<Response<Body>> {
    let mut request = agent.get(url);
    let to_hub = origin(url).is_some_and(|asked| origin(&endpoint()) == Some(asked));
    if let Some(token) = env::var("HF_TOKEN").ok().filter(|token| to_hub && !token.is_empty()) {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    Ok(request.call()?)
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let host = uri.host()?.to_ascii_lowercase();
    Some((scheme, host, uri.port_u16().unwrap_or(port)))
}

/// Where the answer of `asked` sends us on to. What it leaves out is that of `asked`.
fn destination(asked: &str, location: &str) -> Result<String> {
    let base: Uri = asked.parse()?;
    let scheme = base.scheme_str().unwrap_or("https");
    let host = base.authority().map_or("", |authority| authority.as_str());
    let absolute = location.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    let to = if absolute {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{host}{folder}/{location}")
    };
    match origin(&to) {
        None => bail!("{asked} sends on to `{location}`, which is no address of the web"),
        Some((to, ..)) if to == "http" && scheme.eq_ignore_ascii_case("https") => {
            bail!(
                "{asked} sends on from https to {location}, which anybody on the way could change"
            )
        }
        Some(_) => Ok(to),
    }
}

/// How long nothing may arrive; a download may take as long as it likes.
fn patience() -> Duration {
    let own = env::var("HF_HUB_DOWNLOAD_TIMEOUT").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(own.filter(|&seconds| seconds > 0).unwrap_or(PATIENCE))
}

fn agent() -> Result<Agent> {
    let mut config = Agent::config_builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("inception/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(Duration::from_secs(20)))
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(patience()))
        .timeout_per_read(Some(patience()))
        .timeout_per_write(Some(patience()));
    match tls() {
        Ok(tls) => config = config.tls_config(tls),
        Err(error) if endpoint().starts_with("https") => return Err(error),
        Err(_) => {}
    }
    Ok(config.build().into())
}

/// Cryptography without C, on the processors that it is written for.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn tls() -> Result<TlsConfig> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let able = has!("aes") && has!("ssse3") && has!("pclmulqdq") && has!("avx") && has!("avx2");
        if !(able && has!("bmi1") && has!("bmi2") && has!("adx")) {
            bail!("https needs a processor with AES, AVX2 and ADX instructions; {DOWNLOAD}");
        }
    }
    let provider = std::sync::Arc::new(rustls_graviola::default_provider());
    Ok(TlsConfig::builder().unversioned_rustls_crypto_provider(provider).build())
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn tls() -> Result<TlsConfig> {
    bail!("https is not to be had on this processor; {DOWNLOAD}")
}

const DOWNLOAD: &str = "download the file elsewhere and use `inception import`";

fn endpoint() -> String {
    let own = env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
    own.unwrap_or_else(|| "https://huggingface.co".to_owned()).trim_end_matches('/').to_owned()
}

/// Whether reading ended because nothing came: the system's error, or ureq's inside one.
fn is_timeout(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    error.kind() == io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
}

/// The cache's folder, as `huggingface_hub` finds it.
fn cache() -> Result<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || folder("HF_HOME").map(|home| home.join("hub"));
    let general = || folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub"));
    let own = || env::home_dir().map(|home| home.join(".cache/huggingface/hub"));
    folder("HF_HUB_CACHE").or_else(home).or_else(general).or_else(own).ok_or_else(|| {
        anyhow!("no home folder to keep downloads in; set HF_HOME to a folder for them")
    })
}

fn sum_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_sum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hasher to copy into.
struct Hashing<'a>(&'a mut Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_relative_to_who_sends_them() {
        let asked = "https://cdn.example:8443/a/b?c=/d";
        for (location, to) in [
            ("/x?y", "https://cdn.example:8443/x?y"),
            ("//other.example/x", "https://other.example/x"),
            ("x?u=http://z", "https://cdn.example:8443/a/x?u=http://z"),
            ("https://hub.example/x", "https://hub.example/x"),
        ] {
            assert_eq!(destination(asked, location).unwrap(), to);
        }
        for location in ["http://cdn.example:8443/x", "HTTP://x/", "ftp://x/", "file:///etc/passwd"]
        {
            assert!(destination(asked, location).is_err(), "{location}");
        }
        assert!(destination("http://mirror/", "https://x/").is_ok());
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let hub = origin("https://hub.example");
        assert!(hub.is_some());
        assert_eq!(origin("https://HUB.example:443/x"), hub);
        for other in [
            "http://hub.example/x",
            "https://hub.example:444/x",
            "https://hub.example.evil/x",
            "https://hub.example@evil/x",
        ] {
            assert_ne!(origin(other), hub, "{other}");
        }
    }

    #[test]
    fn names_that_would_leave_the_cache_are_refused() {
        assert!(Remote::new("timm/inception_v3.tv_in1k", "model.safetensors", "main").is_ok());
        assert!(Remote::new("a/b", "sub/model.safetensors", "v1").is_ok());
        for (repository, file, revision) in [
            ("a", "f", "main"),
            ("../b", "f", "main"),
            ("a/b/c", "f", "main"),
            ("a/b", "../f", "main"),
            ("a/b", "/f", "main"),
            ("a/b", "f?x", "main"),
            ("a/b", "f", "../main"),
            ("a/b", "f", ""),
        ] {
            assert!(
                Remote::new(repository, file, revision).is_err(),
                "{repository} {file} {revision}"
            );
        }
    }
}
