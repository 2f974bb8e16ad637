//! `inception pull` from a hub that runs in the test.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Place, Ran};
use inception_model::{Weights, write_tensors};
use inception_net::zoo;
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Answers requests for one large file as the hub does: by sending them on, with what it knows.
struct Hub {
    endpoint: String,
    requests: Arc<AtomicUsize>,
    file: Arc<Mutex<Vec<u8>>>,
    sum: String,
}

impl Hub {
    fn new(file: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let sum: String = Sha256::digest(&file).iter().map(|b| format!("{b:02x}")).collect();
        let hub = Self {
            endpoint,
            requests: Arc::default(),
            file: Arc::new(Mutex::new(file.clone())),
            sum: sum.clone(),
        };
        let (requests, file, length) = (hub.requests.clone(), hub.file.clone(), file.len());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                requests.fetch_add(1, Ordering::SeqCst);
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                let path = first.split(' ').nth(1).unwrap().to_owned();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let head = match path.as_str() {
                    "/some/net/resolve/main/model.safetensors" => format!(
                        "HTTP/1.1 302 Found\r\nLocation: /blob\r\nX-Repo-Commit: {COMMIT}\r\n\
                         X-Linked-Etag: \"{sum}\"\r\nX-Linked-Size: {length}\r\nContent-Length: 0"
                    ),
                    "/blob" => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}"),
                    _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0".to_owned(),
                };
                let body = if path == "/blob" { file.lock().unwrap().clone() } else { Vec::new() };
                let _ = write!(stream, "{head}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(&body);
            }
        });
        hub
    }

    fn pull(&self, place: &Place, arguments: &[&str]) -> Ran {
        pull(place, &self.endpoint, arguments)
    }
}

fn pull(place: &Place, endpoint: &str, arguments: &[&str]) -> Ran {
    pull_with(place, endpoint, arguments, &[])
}

fn pull_with(place: &Place, endpoint: &str, arguments: &[&str], more: &[(&str, &str)]) -> Ran {
    let all = [&["pull"], arguments].concat();
    let mut command = place.command(&all);
    for name in ["HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", place.path("cache"));
    command.env("NO_PROXY", "127.0.0.1,localhost").envs(more.iter().copied());
    Ran::of(&all, command.output().unwrap())
}

/// A file of weights under this project's names.
fn weights(place: &Place) -> Vec<u8> {
    let net = zoo::build("inception-v3-small", &zoo::Options::default()).unwrap();
    let weights = Weights::initial(&net.graph().unwrap(), 3);
    let tensors = weights
        .tensors()
        .iter()
        .map(|t| (t.parameter.name.as_str(), t.parameter.shape.as_slice(), t.values.as_slice()));
    write_tensors(&place.path("weights"), BTreeMap::new(), tensors).unwrap();
    place.read("weights")
}

#[test]
fn fetched_once_checked_and_kept() {
    let place = Place::new();
    let hub = Hub::new(weights(&place));
    hub.pull(&place, &["some/net"]).succeeds().says(&["downloaded", &hub.sum]);
    assert!(place.path("net.safetensors").exists());
    let asked = hub.requests.load(Ordering::SeqCst);
    assert_eq!(asked, 2);
    let kept = format!("cache/hub/models--some--net/snapshots/{COMMIT}/model.safetensors");
    assert_eq!(place.read(&kept), place.read("weights"));
    assert_eq!(place.text("cache/hub/models--some--net/refs/main"), COMMIT);
    // Nobody is asked again, and nobody has to be there.
    hub.pull(&place, &["some/net"]).misused().says(&["--force"]);
    hub.pull(&place, &["some/net", "-o", "again.safetensors"]).succeeds().says(&["from the cache"]);
    assert_eq!(hub.requests.load(Ordering::SeqCst), asked);
    assert_eq!(place.read("again.safetensors"), place.read("net.safetensors"));
    pull(&place, "http://127.0.0.1:9", &["some/net", "--force"]).succeeds();
    // A file that has changed is noticed.
    let mut bytes = place.read(&kept);
    *bytes.last_mut().unwrap() ^= 1;
    place.write(&kept, bytes);
    hub.pull(&place, &["some/net", "--force"]).fails().says(&["no longer what was downloaded"]);
}

#[test]
fn what_arrives_damaged_or_short_is_not_kept() {
    let place = Place::new();
    let hub = Hub::new(weights(&place));
    let whole = hub.file.lock().unwrap().clone();
    *hub.file.lock().unwrap().last_mut().unwrap() ^= 1;
    hub.pull(&place, &["some/net"]).fails().says(&["damaged on the way", &hub.sum]);
    hub.file.lock().unwrap().truncate(whole.len() / 2);
    hub.pull(&place, &["some/net"]).fails();
    assert!(!place.path("net.safetensors").exists());
    assert!(!place.path("cache/hub/models--some--net/refs/main").exists());
    *hub.file.lock().unwrap() = whole;
    hub.pull(&place, &["some/net"]).succeeds();
}

#[test]
fn without_a_network_it_says_what_to_do() {
    let place = Place::new();
    let ran = pull(&place, "http://127.0.0.1:9", &["inception_v3.tv_in1k"]).fails();
    ran.says(&[
        "cannot download http://127.0.0.1:9/timm/inception_v3.tv_in1k/resolve/main/model.safetensors:",
        "without a network",
        "`inception import`",
        "HF_ENDPOINT",
    ]);
    let hub = Hub::new(vec![1, 2, 3]);
    hub.pull(&place, &["some/other"]).fails().says(&["no such file"]);
    hub.pull(&place, &["../x"]).misused();
    hub.pull(&place, &["inception-v9"]).misused().says(&["inception_v3.tv_in1k"]);
    let list = hub.pull(&place, &["--list"]).succeeds().out;
    assert_eq!(list.lines().count(), 4);
}

/// Requests as (path, whether a token came along).
type Asked = Arc<Mutex<Vec<(String, bool)>>>;

/// Answers every path with what `answer` says: a head, a body, and whether to hang up after it.
fn serve(
    listener: TcpListener,
    answer: impl Fn(&str) -> (String, Vec<u8>, bool) + Send + 'static,
) -> Asked {
    let asked = Asked::default();
    let seen = asked.clone();
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let path = lines.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
            let head = lines.map_while(|line| line.ok().filter(|line| !line.is_empty()));
            // To the end, so that the whole request is read.
            let is_token =
                |line: &String| line.eq_ignore_ascii_case("authorization: bearer secret");
            let token = head.filter(is_token).count() > 0;
            let (head, body, done) = answer(&path);
            seen.lock().unwrap().push((path, token));
            let _ = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(&body);
            if !done {
                open.push(stream);
            }
        }
    });
    asked
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

fn sent_on(to: &str) -> (String, Vec<u8>, bool) {
    let head =
        format!("302 Found\r\nLocation: {to}\r\nX-Repo-Commit: {COMMIT}\r\nContent-Length: 0");
    (head, Vec::new(), true)
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let place = Place::new();
    let file = weights(&place);
    let ((hub, hub_at), (other, other_at)) = (listener(), listener());
    let to_other = format!("{other_at}/first");
    let asked_hub = serve(hub, move |path| match path {
        "/blob" => (format!("200 OK\r\nContent-Length: {}", file.len()), file.clone(), true),
        "/some/net/resolve/main/model.safetensors" => sent_on(&to_other),
        _ => ("404 Not Found\r\nContent-Length: 0".to_owned(), Vec::new(), true),
    });
    let to_hub = format!("{hub_at}/blob");
    // A place without a host is on the host that names it.
    let asked_other = serve(other, move |path| match path {
        "/first" => sent_on("/second"),
        _ => sent_on(&to_hub),
    });
    pull_with(&place, &hub_at, &["some/net"], &[("HF_TOKEN", "secret")]).succeeds();
    let asked = |asked: &Asked| asked.lock().unwrap().clone();
    let file = "/some/net/resolve/main/model.safetensors";
    assert_eq!(asked(&asked_hub), [(file.to_owned(), true), ("/blob".to_owned(), true)]);
    assert_eq!(asked(&asked_other), [("/first".to_owned(), false), ("/second".to_owned(), false)]);
}

#[test]
fn a_stalled_download_ends() {
    let place = Place::new();
    let (hub, at) = listener();
    serve(hub, |_| {
        let head = format!("200 OK\r\nX-Repo-Commit: {COMMIT}\r\nContent-Length: 1000");
        (head, vec![0; 10], false)
    });
    pull_with(&place, &at, &["some/net"], &[("HF_HUB_DOWNLOAD_TIMEOUT", "1")])
        .fails()
        .says(&["nothing arrived for 1 s after 10 bytes"]);
    assert!(!place.path("net.safetensors").exists());
}

#[test]
fn where_nothing_can_be_written_nobody_is_asked() {
    let place = Place::new();
    let hub = Hub::new(weights(&place));
    for out in ["nowhere/x.safetensors", "weights/x.safetensors"] {
        hub.pull(&place, &["some/net", "-o", out]).fails().says(&[
            "cannot write",
            out,
            "no folder",
        ]);
    }
    assert_eq!(hub.requests.load(Ordering::SeqCst), 0);
}
