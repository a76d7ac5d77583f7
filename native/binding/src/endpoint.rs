//! The half of an endpoint on the JavaScript thread: the class `NativeEndpoint` of `src/binding/native.ts`.
//!
//! Decides nothing: it converts, copies, and hands over to the engine on the I/O thread. Owns that thread: it is joined
//! when the endpoint has closed, when the object is collected, and in the environment's cleanup hook, whichever comes
//! first (attacks I5, I6). A simulated endpoint has a seat in a world instead, one over a carrier a seat of its own. Memory of JavaScript is used only inside the
//! calls.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use napi::{CleanupEnvHook, Env, bindgen_prelude::{Float64ArraySlice, Function, ObjectFinalize, Uint8ArraySlice, Uint32ArraySlice}};
use napi_derive::napi;
use qconnection::Endpoint as Machine;
use qdriver::{Clock, Driver, DriverHandle};

use crate::{
    engine::{Engine, splice::SpliceCounters},
    error::{NativeError, guarded},
    failures::spawn_failure,
    link::{Link, TimeSource},
    memory,
    messages::orders::Question,
    options::{
        connect::{Dial, TlsCache},
        endpoint::{Birth, EndpointOptions},
        server::Listen,
        tls::Surroundings,
    },
    carrier,
    queue::{
        answer::{Answer, PATIENCE, Reply},
        commands::{self, Command, Flush, Sender, SpliceStart},
        layout::DRAIN_MORE,
        records::{self, Reader},
    },
    sim::{JsPicker, Seat, Turned},
    tcp,
    wake::{KeepAlive, Wake},
};

/// What the object and the cleanup hook share, on one thread.
struct Half {
    link: Arc<Link>,
    wake: Arc<Wake>,
    commands: Sender,
    records: Reader,
    /// `None`: it has ended.
    home: Option<Home>,
    surroundings: Surroundings,
    tls: TlsCache,
    splices: Splices,
    hook: Option<CleanupEnvHook<Rc<RefCell<Half>>>>,
}

/// TCP connections joined to streams, as JavaScript names them.
#[derive(Default)]
struct Splices {
    /// The last name given.
    last: u32,
    counters: HashMap<u32, Arc<SpliceCounters>>,
}

/// What gives the engine its turns.
pub enum Home {
    /// An I/O thread.
    Thread(DriverHandle),
    /// A simulated world.
    World(Seat),
    /// A carrier of JavaScript's.
    Carrier(carrier::Seat),
}

/// The parts of a new endpoint that both sides of the queues need.
pub struct Parts {
    /// The options as they crossed.
    pub options: EndpointOptions,
    /// What the halves share.
    pub link: Arc<Link>,
    /// How JavaScript is called.
    pub wake: Arc<Wake>,
    /// The machine.
    pub machine: Machine,
    /// The half that takes turns.
    pub engine: Engine,
    /// Of all TLS options.
    pub surroundings: Surroundings,
    commands: Sender,
    records: Reader,
}

impl Parts {
    /// An endpoint that nothing drives yet.
    ///
    /// # Errors
    /// Options that are none, or that this engine has not.
    pub fn new(json: &str, wake: Wake, birth: &Birth, clock: TimeSource) -> Result<Self, NativeError> {
        let options: EndpointOptions = serde_json::from_str(json)?;
        let config = options.machine(birth)?;
        let link = Arc::new(Link::timed(config.pool_bytes as u64, clock));
        let wake = Arc::new(wake);
        let (commands, receiver) = commands::channel();
        let (writer, records) = records::channel();
        let engine = Engine::new(Arc::clone(&link), Arc::clone(&wake), receiver, writer, options.sockets());
        let mut surroundings = Surroundings::default();
        if options.keylog {
            let link = Arc::clone(&link);
            surroundings.keylog = Some(Arc::new(move |line| link.log_key(line)));
        }
        Ok(Self { options, link, wake, machine: Machine::new(config, birth.seed), engine, surroundings, commands, records })
    }
}

impl Half {
    /// Binds the sockets and starts the thread.
    fn start(json: &str, wake: Wake) -> Result<Self, NativeError> {
        let Parts { options, link, wake, machine, engine, surroundings, commands, records } =
            Parts::new(json, wake, &Birth::now()?, TimeSource::Real(Clock::start()))?;
        let thread = Driver::spawn(options.driver(), machine, engine).map_err(|error| spawn_failure(&error))?;
        link.set_local(thread.sockets().iter().map(|facts| facts.local.to_string()).collect());
        let home = Some(Home::Thread(thread));
        Ok(Self { link, wake, commands, records, home, surroundings, tls: TlsCache::default(), splices: Splices::default(), hook: None })
    }

    /// Hands a command over and wakes the engine.
    fn send(&mut self, command: Command) {
        self.commands.push(command);
        self.nudge();
    }

    /// Wakes the engine if it sleeps.
    fn nudge(&self) {
        match &self.home {
            Some(Home::Thread(thread)) => thread.waker().wake(),
            Some(Home::World(seat)) => seat.stir(),
            // Its own half in JavaScript gives it a turn after every call.
            Some(Home::Carrier(_)) | None => {}
        }
    }

    /// The answer to a question that was sent.
    fn wait(&self, answer: &Answer) -> Option<Reply> {
        match &self.home {
            Some(Home::World(seat)) if seat.turn_now() == Turned::No => None,
            Some(Home::Carrier(seat)) if seat.turn_now() == Turned::No => None,
            _ => answer.wait(PATIENCE),
        }
    }

    fn check_open(&self) -> Result<(), NativeError> {
        if self.home.is_none() || self.link.has_ended() { Err(NativeError::endpoint_closed()) } else { Ok(()) }
    }

    /// Ends the engine's turns and waits for a thread's end; connections are closed on the way. JavaScript is not called afterwards.
    fn shut_down(&mut self) {
        self.wake.close();
        let Some(home) = self.home.take() else { return };
        self.link.abandon();
        match home {
            Home::Thread(thread) => {
                self.commands.push(Command::Close);
                // How it ended was told by its last record.
                thread.stop().unwrap_or_default();
            }
            Home::World(seat) => seat.leave(),
            Home::Carrier(seat) => seat.leave(),
        }
        // What came too late holds descriptors, perhaps.
        self.commands.drop_rest();
    }
}

/// One endpoint of JavaScript's.
#[napi(custom_finalize)]
pub struct NativeEndpoint {
    half: Rc<RefCell<Half>>,
}

impl ObjectFinalize for NativeEndpoint {
    /// The object was collected, or its environment ends.
    fn finalize(self, env: Env) -> napi::Result<()> {
        self.end(env);
        Ok(())
    }
}

impl NativeEndpoint {
    /// Starts an endpoint; see `createEndpoint`.
    pub(crate) fn create(env: Env, options: &str, wake: &Function<'_, (), ()>) -> napi::Result<Self> {
        let half = guarded(|| Half::start(options, Wake::new(wake)?))?;
        let half = Rc::new(RefCell::new(half));
        // Hooks run last in, first out: this one comes before the one that Node made for the thread-safe function.
        let hook = env.add_env_cleanup_hook(Rc::clone(&half), |half| {
            if let Ok(mut half) = half.try_borrow_mut() {
                half.hook = None;
                half.shut_down();
            }
        })?;
        half.borrow_mut().hook = Some(hook);
        Ok(Self { half })
    }

    /// An endpoint whose engine has a seat in a world or over a carrier.
    pub(crate) fn seated(parts: Parts, take_seat: impl FnOnce(Machine, Engine, Arc<Wake>) -> Home) -> Self {
        let Parts { link, wake, machine, engine, surroundings, commands, records, .. } = parts;
        let home = Some(take_seat(machine, engine, Arc::clone(&wake)));
        let half = Half { link, wake, commands, records, home, surroundings, tls: TlsCache::default(), splices: Splices::default(), hook: None };
        Self { half: Rc::new(RefCell::new(half)) }
    }

    /// Joins the thread and takes the hook out.
    fn end(&self, env: Env) {
        let Ok(mut half) = self.half.try_borrow_mut() else { return };
        half.shut_down();
        if let Some(hook) = half.hook.take() {
            // A hook that cannot be removed would find nothing to do.
            env.remove_env_cleanup_hook(hook).unwrap_or_default();
        }
    }

    /// Runs a call on the half.
    fn with<T>(&self, call: impl FnOnce(&mut Half) -> Result<T, NativeError>) -> napi::Result<T> {
        guarded(|| {
            let busy = |_| NativeError::internal("the native endpoint was called from within itself");
            call(&mut *self.half.try_borrow_mut().map_err(busy)?)
        })
    }
}

#[expect(clippy::fn_params_excessive_bools, reason = "`keepAlive` is given a boolean")]
#[napi]
impl NativeEndpoint {
    /// Fills records and payload bytes; answers count | `DRAIN_MORE`.
    #[napi]
    pub fn drain(&self, env: Env, mut records: Uint32ArraySlice<'_>, mut staging: Uint8ArraySlice<'_>) -> napi::Result<u32> {
        let (answer, is_last) = self.with(|half| {
            // Looked at first: what was published before it is drained below.
            let ended = half.link.has_ended();
            let drained = half.records.drain(memory::words(&mut records), memory::bytes(&mut staging)).map_err(|_| NativeError::internal("an event does not fit into the staging buffer"))?;
            if drained.resume {
                half.nudge();
            }
            Ok((drained.answer, ended && drained.answer & DRAIN_MORE == 0))
        })?;
        if is_last {
            self.end(env);
        }
        Ok(answer)
    }

    /// Takes commands and the bytes they name.
    #[napi]
    pub fn flush(&self, commands: &[u32], count: u32, arena: &[u8], wake: u32, tail: Option<&[u8]>) -> napi::Result<()> {
        self.with(|half| {
            half.commands.flush(&Flush { commands, count: count as usize, arena, tail })?;
            if wake != 0 {
                half.nudge();
            }
            Ok(())
        })
    }

    /// Starts a handshake with the next `flush`, `tell` or `ask`; answers the connection's key.
    #[napi]
    pub fn connect(&self, options: String) -> napi::Result<u32> {
        self.with(|half| {
            half.check_open()?;
            let dial = Dial::read(&options, &mut half.tls, &half.surroundings)?;
            let key = half.link.next_key().ok_or_else(|| NativeError::internal("all connection keys of the endpoint are used up; bind another"))?;
            half.link.pages.connection(key);
            // With the next flush or order, so that what the program does with the new connection comes before its start.
            half.commands.hold(Command::Connect(key, Box::new(dial)));
            Ok(key)
        })
    }

    /// Starts accepting, or replaces the options for new connections.
    #[napi]
    pub fn listen(&self, options: String) -> napi::Result<()> {
        self.with(|half| {
            half.check_open()?;
            let listen = Listen::read(&options, &half.surroundings)?;
            half.send(Command::Listen(Box::new(listen)));
            // Whoever is told that we listen may connect at once: the options must be in force by then.
            let taken = Answer::default();
            half.send(Command::Question(0, Question::Nothing, taken.clone()));
            half.wait(&taken).unwrap_or_else(|| Ok(String::new())).map(drop)
        })
    }

    /// A verdict on an attempt: `accept`, `refuse`, `retry` or `ignore`; with `options` it is let in on terms of its own.
    #[napi]
    pub fn admit(&self, attempt: f64, verdict: String, options: Option<String>) -> napi::Result<()> {
        self.with(|half| {
            let terms = options.map(|options| Listen::read(&options, &half.surroundings)).transpose()?;
            let verdict = serde_json::from_value(serde_json::Value::String(verdict))?;
            half.send(Command::Admit(attempt as u64, verdict, terms.map(Box::new)));
            Ok(())
        })
    }

    /// Accepts no more.
    #[napi]
    pub fn unlisten(&self) -> napi::Result<()> {
        self.with(|half| {
            half.send(Command::Unlisten);
            Ok(())
        })
    }

    /// Trust anchors for `ca: 'default'`.
    #[napi]
    pub fn set_default_roots(&self, pem: Vec<String>) -> napi::Result<()> {
        self.with(|half| {
            half.surroundings.default_roots = Some(pem.join("\n").into());
            half.tls.clear();
            Ok(())
        })
    }

    /// An order without an answer.
    #[napi]
    pub fn tell(&self, connection: u32, order: String) -> napi::Result<()> {
        self.with(|half| {
            let order = serde_json::from_str(&order)?;
            half.send(Command::Order(connection, Box::new(order)));
            Ok(())
        })
    }

    /// A question, answered while JavaScript waits.
    #[napi]
    pub fn ask(&self, connection: u32, question: String) -> napi::Result<String> {
        self.with(|half| {
            let question: Question = serde_json::from_str(&question)?;
            half.check_open().map_err(|_| NativeError::connection_closed())?;
            let answer = Answer::default();
            half.send(Command::Question(connection, question, answer.clone()));
            half.wait(&answer).unwrap_or_else(|| Err(NativeError::internal("the I/O thread did not answer within a second")))
        })
    }

    /// Joins the TCP connection behind a descriptor, which is duplicated, to a stream; answers a name for the pair, 0: this endpoint cannot.
    #[napi]
    pub fn splice(&self, connection: u32, stream: f64, descriptor: i32) -> napi::Result<u32> {
        self.with(|half| {
            if !matches!(half.home, Some(Home::Thread(_))) || half.link.has_ended() {
                return Ok(0);
            }
            let Some(id) = half.splices.last.checked_add(1) else { return Ok(0) };
            let Ok(socket) = tcp::duplicate(descriptor) else { return Ok(0) };
            half.splices.last = id;
            let counters = Arc::<SpliceCounters>::default();
            half.splices.counters.insert(id, Arc::clone(&counters));
            half.send(Command::Splice(Box::new(SpliceStart { id, key: connection, stream: stream as u64, tcp: socket, counters })));
            Ok(id)
        })
    }

    /// What JavaScript had got of the stream, to be written to TCP before the rest.
    #[napi]
    pub fn splice_go(&self, splice: u32, bytes: &[u8]) -> napi::Result<()> {
        self.with(|half| {
            half.send(Command::SpliceGo(splice, bytes.to_vec()));
            Ok(())
        })
    }

    /// Lets the TCP connection go, with RST unless both its directions have ended; its numbers are gone.
    #[napi]
    pub fn splice_cut(&self, splice: u32) -> napi::Result<()> {
        self.with(|half| {
            if half.splices.counters.remove(&splice).is_some() {
                half.send(Command::SpliceCut(splice));
            }
            Ok(())
        })
    }

    /// Bytes moved from TCP to the stream and from the stream to TCP; `false`: there is no such pair.
    #[napi]
    pub fn splice_bytes(&self, splice: u32, mut out: Float64ArraySlice<'_>) -> napi::Result<bool> {
        self.with(|half| {
            let Some(counters) = half.splices.counters.get(&splice) else { return Ok(false) };
            memory::numbers(&mut out).iter_mut().zip(counters.read()).for_each(|(cell, number)| *cell = number);
            Ok(true)
        })
    }

    /// Copies a row of numbers.
    #[napi]
    pub fn statistics(&self, scope: u32, connection: u32, path: u32, mut out: Float64ArraySlice<'_>) -> napi::Result<bool> {
        self.with(|half| Ok(half.link.pages.read(scope, connection, path, memory::numbers(&mut out))))
    }

    /// Asks `pick` for every burst of data of a connection from now on: not where an I/O thread sends.
    #[napi]
    pub fn set_picker(&self, env: Env, connection: u32, pick: Function<'_, String, String>) -> napi::Result<()> {
        self.with(|half| {
            if matches!(half.home, Some(Home::Thread(_))) {
                return Err(NativeError::internal("an I/O thread cannot ask for every burst"));
            }
            let picker = JsPicker::new(env, &pick, half.link.clock.zero()).map_err(|error| NativeError::internal(error.reason))?;
            // With the next flush or order, as the connection itself.
            half.commands.hold(Command::Picker(connection, Box::new(picker)));
            Ok(())
        })
    }

    /// Lets go of an ended connection.
    #[napi]
    pub fn forget(&self, connection: u32) -> napi::Result<()> {
        self.with(|half| {
            half.link.pages.forget(connection);
            Ok(())
        })
    }

    /// Bound addresses with real ports.
    #[napi]
    pub fn local(&self) -> napi::Result<Vec<String>> {
        self.with(|half| Ok(half.link.local()))
    }

    /// Milliseconds since this endpoint was made.
    #[napi]
    pub fn now(&self) -> napi::Result<f64> {
        self.with(|half| Ok(half.link.clock.now().as_millis_f64()))
    }

    /// Whether waiting for `wake` keeps the process alive.
    #[napi]
    pub fn keep_alive(&self, env: Env, on: bool) -> napi::Result<()> {
        self.with(|half| {
            half.wake.keep_alive(env, if on { KeepAlive::Yes } else { KeepAlive::No });
            Ok(())
        })
    }

    /// Closes connections, then sockets, then the thread; `endpoint-closed` comes.
    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        self.with(|half| {
            half.send(Command::Close);
            Ok(())
        })
    }
}
