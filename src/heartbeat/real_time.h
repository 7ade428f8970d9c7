// A thread that the host runs before all others and never takes memory from.
#pragma once

#include <string>
#include <vector>

namespace ftvmm::heartbeat {

// Makes the calling thread one, as far as this process may: SCHED_FIFO, and locked memory for its
// stack and for the code and data of everything that is loaded, so that no page of it has to come
// from storage again. Locked pages stay so for the life of the process. What is not allowed comes
// back in a sentence each, with what to do; the thread goes on as it is.
[[nodiscard]] std::vector<std::string> become_real_time();

}  // namespace ftvmm::heartbeat
