// Waits for the other host of a pair, on a thread that has nothing else to do.
#pragma once

#include <atomic>

#include "base/result.h"
#include "ftlink/meeting_driver.h"
#include "pair/io_loop.h"

namespace ftvmm::pair {

// One try. What comes of it is the caller's, who starts a LinkDriver with it on the loop's thread.
// An error: there is no such host, or not in time, or the two do not agree; or `stops` is true.
[[nodiscard]] Result<ftlink::Greeted> meet(IoLoop& loop, const ftlink::LinkOptions& options,
                                           const std::atomic<bool>& stops);

}  // namespace ftvmm::pair
