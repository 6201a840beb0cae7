//! A proxy that stands before a real server, notes every request, and does to some of them what
//! networks do: cut, delay, refuse.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection ends before an answer, and nothing was done.
    Reset,
    /// What was asked for is done, and the connection ends instead of the answer.
    LoseAnswer,
    /// Nothing happens until the plan changes: whoever asked can be killed meanwhile.
    Hold,
    /// What was asked for is done, and nothing more happens until the plan changes.
    HoldAnswer,
    /// The answer's body ends early, after so many bytes.
    CutBody(usize),
    /// The answer is so many bytes long and says so: less than was asked for.
    Shorten(usize),
    /// The answer comes late.
    Delay(Duration),
    /// The proxy answers with this status itself.
    Status(u16),
}

/// The proxy; it stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    /// `127.0.0.1:<port>`.
    pub address: String,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    plan: Mutex<Plan>,
    requests: Mutex<Vec<String>>,
    stopped: AtomicBool,
    /// Requests that are held.
    held: AtomicUsize,
    /// Plans so far.
    plans: AtomicUsize,
}

#[derive(Debug)]
struct Plan {
    next: VecDeque<Fault>,
    otherwise: Fault,
    /// What befalls every request whose path contains this.
    always: Option<(String, Fault)>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Relaxed);
        drop(TcpStream::connect(&self.address));
    }
}

impl Proxy {
    /// Starts a proxy before `upstream`, `host:port`.
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            plan: Mutex::new(Plan { next: VecDeque::new(), otherwise: Fault::None, always: None }),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            plans: AtomicUsize::new(0),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_thread.stopped.load(Relaxed) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                // A client that goes away is its own affair.
                std::thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Self { shared, address }
    }

    /// What befalls the next requests, in order, and then `otherwise` all that follow.
    pub fn plan(&self, next: impl IntoIterator<Item = Fault>, otherwise: Fault) {
        self.set(Plan { next: next.into_iter().collect(), otherwise, always: None });
    }

    /// What befalls every request whose path contains `part`, and no other.
    pub fn plan_for(&self, part: &str, fault: Fault) {
        self.set(Plan {
            next: VecDeque::new(),
            otherwise: Fault::None,
            always: Some((part.to_owned(), fault)),
        });
    }

    fn set(&self, plan: Plan) {
        *self.shared.plan.lock().expect("no thread panics with it") = plan;
        self.shared.plans.fetch_add(1, Relaxed);
    }

    /// How many requests are held at present.
    pub fn held(&self) -> usize {
        self.shared.held.load(Relaxed)
    }

    /// The requests since the last call: method, path, and the range if one was asked for.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().expect("no thread panics with it"))
    }
}

impl Shared {
    /// Waits until there is another plan.
    fn hold(&self, n_plans: usize) {
        self.held.fetch_add(1, Relaxed);
        while self.plans.load(Relaxed) == n_plans && !self.stopped.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.held.fetch_sub(1, Relaxed);
    }

    /// Serves one request of a connection and closes it.
    fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        let mut from_client = BufReader::new(client.try_clone()?);
        let (mut head, mut range, mut body_bytes) = (String::new(), String::new(), 0);
        let mut request = String::new();
        loop {
            let mut line = String::new();
            if from_client.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "connection" => continue,
                "range" => range = format!(" {}", value.trim()),
                "content-length" => body_bytes = value.trim().parse().unwrap_or(0),
                _ => {}
            }
            if head.is_empty() {
                request = line.rsplit_once(' ').unwrap_or_default().0.to_owned();
            }
            head.push_str(&line);
        }
        let mut body = vec![0; body_bytes];
        from_client.read_exact(&mut body)?;
        let n_plans = self.plans.load(Relaxed);
        let fault = {
            let mut plan = self.plan.lock().expect("no thread panics with it");
            match &plan.always {
                Some((part, fault)) if request.contains(part.as_str()) => *fault,
                _ => plan.next.pop_front().unwrap_or(plan.otherwise),
            }
        };
        self.requests.lock().expect("no thread panics with it").push(request + &range);
        let mut client = client;
        match fault {
            Fault::Reset => return client.shutdown(Shutdown::Both),
            Fault::Hold => {
                self.hold(n_plans);
                return client.shutdown(Shutdown::Both);
            }
            Fault::Status(status) => {
                write!(
                    client,
                    "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )?;
                return client.shutdown(Shutdown::Both);
            }
            Fault::Delay(by) => std::thread::sleep(by),
            Fault::None
            | Fault::LoseAnswer
            | Fault::HoldAnswer
            | Fault::CutBody(_)
            | Fault::Shorten(_) => {}
        }
        let mut server = TcpStream::connect(&self.upstream)?;
        server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
        server.write_all(&body)?;
        let mut from_server = BufReader::new(server);
        if matches!(fault, Fault::LoseAnswer | Fault::HoldAnswer) {
            std::io::copy(&mut from_server, &mut std::io::sink())?;
            if matches!(fault, Fault::HoldAnswer) {
                self.hold(n_plans);
            }
            return client.shutdown(Shutdown::Both);
        }
        loop {
            let mut line = String::new();
            from_server.read_line(&mut line)?;
            if let Fault::Shorten(bytes) = fault
                && line.to_ascii_lowercase().starts_with("content-length:")
            {
                line = format!("Content-Length: {bytes}\r\n");
            }
            client.write_all(line.as_bytes())?;
            if line == "\r\n" || line.is_empty() {
                break;
            }
        }
        match fault {
            Fault::CutBody(bytes) | Fault::Shorten(bytes) => {
                std::io::copy(&mut from_server.take(bytes as u64), &mut client)?;
            }
            _ => {
                std::io::copy(&mut from_server, &mut client)?;
            }
        }
        client.shutdown(Shutdown::Both)
    }
}
