#include "base/clock.h"

#include <ctime>

#include "base/check.h"

namespace ftvmm {

Instant SystemClock::now() const {
    timespec time{};
    FTVMM_CHECK(::clock_gettime(CLOCK_BOOTTIME, &time) == 0, "Linux has CLOCK_BOOTTIME");
    return Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

}  // namespace ftvmm
