// Any bytes as code: where the search near RDTSC's bytes has no doubt, it finds what a sweep of all
// of them does. The two sides of a pair may not differ by one site that was missed.
#include <algorithm>
#include <span>
#include <vector>

#include "base/check.h"
#include "fuzz_input.h"
#include "vmm/boot/tsc_sites.h"

namespace {

using ftvmm::boot::CodeMode;
using ftvmm::fuzz::FuzzInput;

// The first byte says how many functions there are and, with its bit 2, that the code is 32-bit;
// their places follow, and the code.
void run(std::span<const std::uint8_t> bytes) {
    FuzzInput input(bytes);
    const unsigned what = input.take<std::uint8_t>();
    const auto mode = (what & 4U) != 0 ? CodeMode::k32Bit : CodeMode::k64Bit;
    std::vector<std::size_t> functions(what & 3U);
    const std::size_t head = 1 + functions.size();
    for (std::size_t& function : functions)
        function = input.take<std::uint8_t>();
    std::ranges::sort(functions);
    if (bytes.size() <= head) return;
    const auto code = std::as_bytes(bytes.subspan(head));
    std::erase_if(functions, [&](std::size_t function) { return function >= code.size(); });

    const auto all = ftvmm::boot::sweep_all(code, functions, mode);
    FTVMM_CHECK(!all.doubtful, "a sweep of all has no doubts");
    const auto near = ftvmm::boot::sweep_candidates(code, functions, mode);
    FTVMM_CHECK(near.swept_bytes <= 16 * code.size(), "a search does not go on for ever");
    if (near.doubtful) {
        FTVMM_CHECK(*near.doubtful < code.size(), "what is in doubt is in the code");
        return;
    }
    FTVMM_CHECK(near.sites == all.sites && near.lookalikes == all.lookalikes,
                "a search near the candidates finds what a sweep of all does");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    run({data, size});
    return 0;
}
