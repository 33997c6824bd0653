//! Connections above the cap. One thread looks after all of them, so that a crowd cannot take more than that, and
//! a health probe is answered however large the crowd is.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::input::Input;
use super::refusal::Refusal;
use super::serving::Serving;
use super::stop::Stop;
use super::{Limits, Service, head};
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
    arrivals: SyncSender<Arc<TcpStream>>,
    wake: PipeWriter,
}

impl Overflow {
    /// Starts the thread. It ends when this is dropped.
    ///
    /// # Errors
    ///
    /// There is no thread or descriptor for it.
    pub(super) fn start(service: Arc<dyn Service>, limits: Arc<Limits>, stop: Arc<Stop>) -> io::Result<Self> {
        let (woken, wake) = io::pipe()?;
        // One thread for all: it waits for nobody. An answer of this size finds room in an empty send buffer.
        let limits = Limits { write_stall: Duration::ZERO, ..(*limits).clone() };
        let (hand_over, arrivals) = sync_channel(ARRIVALS);
        let crowd = Crowd { arrivals, woken, service, limits, stop, members: VecDeque::new() };
        let thread = std::thread::Builder::new().name("overflow".into()).stack_size(256 * 1024);
        thread.spawn(move || crowd.run())?;
        Ok(Self { arrivals: hand_over, wake })
    }

    /// Hands a connection over.
    pub(super) fn admit(&self, stream: Arc<TcpStream>) {
        let _ = self.arrivals.send(stream);
        let _ = (&self.wake).write(&[0]);
    }
}

struct Crowd {
    arrivals: Receiver<Arc<TcpStream>>,
    woken: PipeReader,
    service: Arc<dyn Service>,
    limits: Limits,
    stop: Arc<Stop>,
    /// The oldest first.
    members: VecDeque<Member>,
}

struct Member {
    input: Input,
    deadline: Instant,
    /// It has its answer, and is given time to read it.
    answered: bool,
}

impl Crowd {
    fn run(mut self) {
        // A panic costs those who are here; others will come.
        while catch_unwind(AssertUnwindSafe(|| self.turn())).unwrap_or(true) {}
        self.take_in();
        while let Some(member) = self.members.pop_front() {
            self.part(member);
        }
    }

    /// Waits for something to happen and sees to it. False when the server is no more.
    fn turn(&mut self) -> bool {
        let deadline = self.members.iter().map(|member| member.deadline).min();
        let mut wanted = vec![(self.woken.as_fd(), Ready::READ)];
        wanted.extend(self.members.iter().map(|member| (member.input.stream().as_fd(), Ready::READ)));
        let Ok(found) = sys::wait_many(&wanted, deadline) else {
            // Out of memory: whoever is here has waited long enough.
            self.members.clear();
            return true;
        };
        if found[0].any() && !matches!((&self.woken).read(&mut [0; TURN]), Ok(1..)) {
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
        for stream in arrivals {
            if self.members.len() >= self.limits.overflow.max(1) {
                // Whoever has an answer had a chance to read it.
                let oldest = self.members.iter().position(|member| member.answered).unwrap_or(0);
                self.members.remove(oldest).into_iter().for_each(|member| self.part(member));
            }
            let deadline = Instant::now() + PATIENCE;
            let mut member = Member { input: Input::new(stream), deadline, answered: false };
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
        let seen = member.input.bytes().len();
        match member.input.fill(Instant::now()) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return true,
            Ok(0) | Err(_) => {
                member.answered = true;
                return false;
            }
        }
        match head::find_end(member.input.bytes(), seen) {
            Ok(None) => member.input.bytes().len() <= MAX_HEAD,
            Ok(Some(end)) => {
                let head = head::parse(&member.input.bytes()[..end]);
                member.input.consume(end);
                let limits = &self.limits;
                match head {
                    Ok(head) => {
                        let mut serving = Serving::new(&head, true, &mut member.input, limits, &self.stop);
                        self.service.turn_away(head, &mut serving);
                    }
                    Err(refusal) => {
                        self.service.refused(&refusal);
                        refusal.send(&mut Serving::last(&mut member.input, limits, &self.stop));
                    }
                }
                self.answered(member)
            }
            Err(refusal) => {
                self.service.refused(&refusal);
                refusal.send(&mut Serving::last(&mut member.input, &self.limits, &self.stop));
                self.answered(member)
            }
        }
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
        let refusal = Refusal::too_many_connections();
        self.service.refused(&refusal);
        refusal.send(&mut Serving::last(&mut member.input, &self.limits, &self.stop));
        self.answered(member)
    }
}
