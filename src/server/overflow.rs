//! Connections for which there is too little of something. One thread looks after all of them, so that an overload cannot
//! take more than that, and a health probe gets its response however many others come.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::input::Input;
use super::refusal::{Overload, Refusal};
use super::serving::Serving;
use super::stop::Stop;
use super::{Limits, Service};
use crate::http1::head::{self, FaultKind, Scan};
use crate::sys::{self, Ready};

/// How long one of these connections may take to say what it wants, and then to read the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A head longer than this is not worth reading here.
const MAX_HEAD: usize = 16 * 1024;

/// Connections on their way to the thread. Few, for each has a descriptor, and those are counted.
const ARRIVALS: usize = 8;
/// Taken in at a time, at least as many as the bytes that said so.
const TURN: usize = 64;

/// The way to the thread.
pub(super) struct Overflow {
    arrivals: SyncSender<(Arc<TcpStream>, Overload)>,
    wake: PipeWriter,
}

impl Overflow {
    /// Starts the thread. It ends when this is dropped and everybody has a response and had time to read it; then `ended`
    /// is dropped, too.
    ///
    /// # Errors
    ///
    /// There is no thread or descriptor for it.
    pub(super) fn start(
        service: Arc<dyn Service>,
        limits: Arc<Limits>,
        stop: Arc<Stop>,
        ended: SyncSender<()>,
    ) -> io::Result<Self> {
        let (woken, wake) = io::pipe()?;
        // One thread for all: it waits for nobody. An answer of this size finds room in an empty send buffer.
        let limits = Limits { write_stall: Duration::ZERO, ..(*limits).clone() };
        let (hand_over, arrivals) = sync_channel(ARRIVALS);
        let crowd = Crowd { arrivals, woken, service, limits, stop, members: VecDeque::new() };
        let thread = std::thread::Builder::new().name("overflow".into()).stack_size(256 * 1024);
        thread.spawn(move || {
            crowd.run();
            drop(ended);
        })?;
        Ok(Self { arrivals: hand_over, wake })
    }

    /// Hands a connection over, and what there is too little of for it.
    pub(super) fn admit(&self, stream: Arc<TcpStream>, by: Overload) {
        let _ = self.arrivals.send((stream, by));
        let _ = (&self.wake).write(&[0]);
    }
}

struct Crowd {
    arrivals: Receiver<(Arc<TcpStream>, Overload)>,
    woken: PipeReader,
    service: Arc<dyn Service>,
    limits: Limits,
    stop: Arc<Stop>,
    /// The oldest first.
    members: VecDeque<Member>,
}

struct Member {
    input: Input,
    scan: Scan,
    by: Overload,
    deadline: Instant,
    /// It has its answer, and is given time to read it.
    answered: bool,
}

impl Crowd {
    fn run(mut self) {
        // A panic costs those who are here; others will come.
        while catch_unwind(AssertUnwindSafe(|| self.turn(true))).unwrap_or(true) {}
        self.take_in();
        // Nobody else comes. Whoever is here gets a response, and the time to read it.
        while !self.members.is_empty() {
            let _ = catch_unwind(AssertUnwindSafe(|| self.turn(false)));
        }
    }

    /// Waits for something to happen and sees to it. False when the server is no more.
    fn turn(&mut self, is_open: bool) -> bool {
        let deadline = self.members.iter().map(|member| member.deadline).min();
        let mut wanted = vec![(self.woken.as_fd(), if is_open { Ready::READ } else { Ready::NOTHING })];
        wanted.extend(self.members.iter().map(|member| (member.input.stream().as_fd(), Ready::READ)));
        let Ok(found) = sys::wait_many(&wanted, deadline) else {
            // Out of memory: whoever is here has waited long enough.
            self.members.clear();
            return true;
        };
        if is_open && found[0].any() && !matches!((&self.woken).read(&mut [0; TURN]), Ok(1..)) {
            return false;
        }
        let now = Instant::now();
        let members = std::mem::take(&mut self.members);
        for (mut member, found) in members.into_iter().zip(&found[1..]) {
            let stays = (!found.any() || self.attend(&mut member)) && now < member.deadline;
            if stays || self.refuse(&mut member) {
                self.members.push_back(member);
            }
        }
        self.take_in();
        true
    }

    fn take_in(&mut self) {
        let arrivals: Vec<_> = self.arrivals.try_iter().take(TURN).collect();
        for (stream, by) in arrivals {
            if self.members.len() >= self.limits.overflow.max(1) {
                // Whoever has an answer had a chance to read it.
                let oldest = self.members.iter().position(|member| member.answered).unwrap_or(0);
                self.members.remove(oldest).into_iter().for_each(|member| self.part(member));
            }
            let deadline = Instant::now() + PATIENCE;
            let (input, scan) = (Input::new(stream), Scan::default());
            let mut member = Member { input, scan, by, deadline, answered: false };
            // Most come with their request, and a crowd of others may be right behind.
            if self.attend(&mut member) || self.refuse(&mut member) {
                self.members.push_back(member);
            }
        }
    }

    /// The end of one that has to leave: by now its request may be there.
    fn part(&self, mut member: Member) {
        if !member.answered {
            self.attend(&mut member);
        }
        self.refuse(&mut member);
    }

    /// Reads what there is, and answers once the request is known. False when the connection is over.
    fn attend(&self, member: &mut Member) -> bool {
        if member.answered {
            // What else it sends is only read so that closing does not destroy the answer.
            let mut stream: &TcpStream = member.input.stream();
            return matches!(stream.read(&mut [0; 4096]), Ok(1..));
        }
        match member.input.fill(Instant::now()) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return true,
            Ok(0) | Err(_) => {
                member.answered = true;
                return false;
            }
        }
        while member.input.bytes().starts_with(b"\r\n") {
            member.input.consume(2);
        }
        let limits = &self.limits;
        match head::read_request(member.input.bytes(), &mut member.scan, MAX_HEAD) {
            Ok(None) => return true,
            Ok(Some((head, length))) => {
                member.input.consume(length);
                let mut serving = Serving::new(&head, true, None, &mut member.input, limits, &self.stop);
                self.service.turn_away(head, member.by, &mut serving);
            }
            // A head that is too long for this thread may be right elsewhere.
            Err(fault) if fault.kind == FaultKind::FieldsTooLarge || fault.kind == FaultKind::UriTooLong => {
                return false;
            }
            Err(fault) => {
                let refusal = Refusal::from(fault);
                self.service.refused(&refusal);
                refusal.send(&mut Serving::last(&mut member.input, limits, &self.stop));
            }
        }
        self.answered(member)
    }

    /// Gives the client time to read what it was sent. False when it is gone already.
    fn answered(&self, member: &mut Member) -> bool {
        member.answered = true;
        member.deadline = Instant::now() + PATIENCE;
        member.input.stream().shutdown(Shutdown::Write).is_ok()
    }

    /// To one whose turn never came. Whoever has an answer gets no other. False when the connection is over.
    fn refuse(&self, member: &mut Member) -> bool {
        if member.answered {
            return false;
        }
        let refusal = Refusal::overloaded(member.by);
        self.service.refused(&refusal);
        refusal.send(&mut Serving::last(&mut member.input, &self.limits, &self.stop));
        self.answered(member)
    }
}
