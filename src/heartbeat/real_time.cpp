#include "heartbeat/real_time.h"

#include <link.h>
#include <sched.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "base/result.h"

namespace ftvmm::heartbeat {

namespace {

// Above what is ordinary, below what the kernel's own threads and watchdogs are given.
constexpr int kPriority = 10;
// Many times what a turn of the driver needs.
constexpr std::size_t kStackBytes = std::size_t{64} << 10U;

// The errno of the first segment that can not be locked, or 0.
int lock_segments(dl_phdr_info* object, std::size_t /*size*/, void* /*unused*/) {
    for (int i = 0; i < object->dlpi_phnum; ++i) {
        const auto& segment = object->dlpi_phdr[i];
        if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
        // NOLINTNEXTLINE(performance-no-int-to-ptr): an address is what the linker tells.
        const auto* at = reinterpret_cast<const void*>(object->dlpi_addr + segment.p_vaddr);
        if (::mlock(at, segment.p_memsz) != 0) return errno;
    }
    return 0;
}

// The stack below the caller, which grows into pages that are there already.
[[gnu::noinline]] int lock_stack() {
    std::array<std::byte, kStackBytes> room{};
    return ::mlock(room.data(), room.size()) == 0 ? 0 : errno;
}

}  // namespace

std::vector<std::string> become_real_time() {
    std::vector<std::string> refused;
    sched_param parameters{};
    parameters.sched_priority = kPriority;
    // The 0 is the calling thread.
    if (::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters) != 0) {
        refused.push_back(Error::from_errno(errno, "beats are not sent in real time",
                                            "a busy host may be taken for dead: allow it with "
                                            "LimitRTPRIO=10 or CAP_SYS_NICE")
                              .line());
    }
    const int stack = lock_stack();
    const int error = stack != 0 ? stack : ::dl_iterate_phdr(&lock_segments, nullptr);
    if (error != 0) {
        refused.push_back(Error::from_errno(error, "what beats need is not locked in memory",
                                            "a host that runs out of memory may be taken for dead: "
                                            "allow it with LimitMEMLOCK=64M or CAP_IPC_LOCK")
                              .line());
    }
    return refused;
}

}  // namespace ftvmm::heartbeat
