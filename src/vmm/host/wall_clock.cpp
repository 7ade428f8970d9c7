#include "vmm/host/wall_clock.h"

#include <ctime>

#include "base/check.h"

namespace ftvmm::host {

WallTime SystemWallClock::now() const {
    timespec time{};
    FTVMM_CHECK(::clock_gettime(CLOCK_REALTIME, &time) == 0, "Linux has CLOCK_REALTIME");
    return WallTime(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

}  // namespace ftvmm::host
