//! TUN devices in network namespaces, and waiting for them: the calls into the kernel.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Error, Read, Result, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

/// One end of the link: reads what its namespace sends, writes what arrives there.
pub(crate) struct Device(File);

impl Device {
    /// Attaches to the TUN device `name`, which must exist in the namespace at `path`. The calling
    /// thread is in that namespace afterwards.
    pub(crate) fn open(path: &str, name: &str) -> Result<Self> {
        let namespace = File::open(path)?;
        // SAFETY: setns takes a descriptor, which `namespace` keeps open, and no memory.
        if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(Error::last_os_error());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")?;
        let name = CString::new(name)?;
        if name.as_bytes_with_nul().len() > libc::IFNAMSIZ {
            return Err(Error::other("the name of the device is too long"));
        }
        // SAFETY: an `ifreq` of zeros is a valid value of that plain C structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes_with_nul()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives until the call returns.
        if unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) } != 0 {
            return Err(Error::last_os_error());
        }
        Ok(Device(file))
    }

    /// The next packet, if one is there.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.0.read(buffer).ok().filter(|n| *n > 0)
    }

    /// Hands one packet over; what the kernel does not take is lost, as on any link.
    pub(crate) fn write(&mut self, packet: &[u8]) {
        let _ = self.0.write(packet);
    }
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    // SAFETY: a `timespec` of zeros is a valid value of that plain C structure.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: clock_gettime writes one `timespec`, which lives until the call returns.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Waits for a packet at either device or for the end of standard input, at most `wait_ns`. False
/// when standard input has ended.
pub(crate) fn wait(devices: &[Device; 2], wait_ns: u64) -> bool {
    let of = |fd, events| libc::pollfd { fd, events, revents: 0 };
    let mut fds = [
        of(devices[0].0.as_raw_fd(), libc::POLLIN),
        of(devices[1].0.as_raw_fd(), libc::POLLIN),
        of(0, libc::POLLIN),
    ];
    let time = libc::timespec {
        tv_sec: (wait_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (wait_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: three descriptors and their number; time and array live until the call returns.
    unsafe { libc::ppoll(fds.as_mut_ptr(), 3, &raw const time, std::ptr::null()) };
    if fds[2].revents == 0 {
        return true;
    }
    let mut byte = [0];
    std::io::stdin().read(&mut byte).is_ok_and(|n| n > 0)
}

/// Asks to be woken at once and to the microsecond: a link that is late adds delay of its own. What
/// the kernel does not grant is done without.
pub(crate) fn hurry() {
    let priority = libc::sched_param { sched_priority: 10 };
    // SAFETY: the first call takes plain numbers, the second one structure that it only reads.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority);
    }
}
