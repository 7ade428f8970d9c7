#include "vmm/host/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace ftvmm::host {

namespace {

ifreq request_for(const std::string& name) {
    ifreq request{};
    const std::size_t length = std::min<std::size_t>(name.size(), IFNAMSIZ - 1);
    std::copy_n(name.begin(), length, static_cast<char*>(request.ifr_name));
    return request;
}

Failure failure(int error_number, const std::string& what) {
    std::string advice;
    if (error_number == EPERM || error_number == EACCES) {
        advice = "run as root, or with CAP_NET_ADMIN";
    } else if (error_number == EBUSY) {
        advice = "stop the VM that uses it, or name another tap";
    } else if (error_number == EINVAL) {
        advice = "name a tap made with: ip tuntap add dev NAME mode tap vnet_hdr";
    }
    return Failure(Error::from_errno(error_number, what, std::move(advice)));
}

Result<void> plug_in(const std::string& tap, const std::string& bridge) {
    const Fd control(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!control.valid()) return Failure(Error::from_errno(errno, "socket"));
    const std::string what = "tap " + tap + " on bridge " + bridge;

    // Unplugging what is not plugged in changes nothing, and tells a bridge from other interfaces.
    ifreq probe = request_for(bridge);
    probe.ifr_ifindex = static_cast<int>(::if_nametoindex(tap.c_str()));
    if (::ioctl(control.get(), SIOCBRDELIF, &probe) != 0 && errno == EOPNOTSUPP) {
        return fail(bridge + " is not a bridge", "name a bridge");
    }

    // A port with a smaller MTU would make the whole bridge's smaller.
    ifreq mtu = request_for(bridge);
    if (::ioctl(control.get(), SIOCGIFMTU, &mtu) != 0) return failure(errno, what);
    ifreq own = request_for(tap);
    own.ifr_mtu = mtu.ifr_mtu;
    if (::ioctl(control.get(), SIOCSIFMTU, &own) != 0) return failure(errno, what);

    ifreq port = request_for(bridge);
    port.ifr_ifindex = static_cast<int>(::if_nametoindex(tap.c_str()));
    if (::ioctl(control.get(), SIOCBRADDIF, &port) != 0) return failure(errno, what);
    ifreq flags = request_for(tap);
    if (::ioctl(control.get(), SIOCGIFFLAGS, &flags) != 0) return failure(errno, what);
    flags.ifr_flags = static_cast<short>(flags.ifr_flags | IFF_UP);
    if (::ioctl(control.get(), SIOCSIFFLAGS, &flags) != 0) return failure(errno, what);
    return {};
}

}  // namespace

// TUNSETIFF takes an interface that exists, or makes one; "%d" in the name asks for a free number.
Result<Tap> Tap::attach(const std::string& name) {
    auto opened = Fd::open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (!opened) {
        return Failure(opened.error().with_advice("load the module: modprobe tun; run as root"));
    }
    ifreq request = request_for(name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (::ioctl(opened->get(), TUNSETIFF, &request) != 0) return failure(errno, "tap " + name);
    Tap tap(std::move(*opened), static_cast<const char*>(request.ifr_name));
    int header_bytes = kHeaderBytes;
    if (::ioctl(tap.fd(), TUNSETVNETHDRSZ, &header_bytes) != 0) {
        return failure(errno, "tap " + name);
    }
    FTVMM_TRY(tap.set_offload(TapOffload{}));
    return tap;
}

Result<Tap> Tap::open(const std::string& name) {
    if (name.size() >= IFNAMSIZ || ::if_nametoindex(name.c_str()) == 0) {
        return fail("there is no tap " + name,
                    "make it: ip tuntap add dev " + name + " mode tap vnet_hdr");
    }
    return attach(name);
}

Result<Tap> Tap::create_on(const std::string& bridge) {
    if (bridge.size() >= IFNAMSIZ || ::if_nametoindex(bridge.c_str()) == 0) {
        return fail("there is no bridge " + bridge,
                    "make it: ip link add " + bridge + " type bridge");
    }
    FTVMM_ASSIGN(Tap tap, attach("ftv%d"));
    FTVMM_TRY(plug_in(tap.name(), bridge));
    return tap;
}

Result<void> Tap::set_offload(const TapOffload& offload) const {
    unsigned long flags = 0;
    if (offload.checksum) flags |= TUN_F_CSUM;
    if (offload.tso4) flags |= TUN_F_TSO4;
    if (offload.tso6) flags |= TUN_F_TSO6;
    if (offload.ecn) flags |= TUN_F_TSO_ECN;
    if (::ioctl(fd_.get(), TUNSETOFFLOAD, flags) != 0) {
        return Failure(Error::from_errno(errno, "offloads of tap " + name_));
    }
    return {};
}

Result<std::optional<std::size_t>> Tap::read_frame(std::span<std::byte> into) const {
    while (true) {
        const ssize_t got = ::read(fd_.get(), into.data(), into.size());
        if (got >= 0) return std::optional(static_cast<std::size_t>(got));
        if (errno == EAGAIN) return std::nullopt;
        if (errno != EINTR) return Failure(Error::from_errno(errno, "tap " + name_));
    }
}

Result<bool> Tap::write_frame(std::span<const std::byte> frame) const {
    while (true) {
        if (::write(fd_.get(), frame.data(), frame.size()) >= 0) return true;
        if (errno == EAGAIN) return false;
        if (errno != EINTR) return Failure(Error::from_errno(errno, "tap " + name_));
    }
}

}  // namespace ftvmm::host
