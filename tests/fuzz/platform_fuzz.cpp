// The guest's whole machine but its processor, under any guest and any world: it does the same each
// time, its state is all that it remembers, and it says what it wrote.
#include "base/check.h"
#include "fuzz_input.h"
#include "platform_machine.h"

namespace {

using ftvmm::fuzz::FuzzInput;
using ftvmm::fuzz::PlatformMachine;

// Two machines live the same life, but that one is made anew from the other's state now and then.
void run(FuzzInput input) {
    PlatformMachine original;
    PlatformMachine restored;
    while (!input.empty()) {
        if (input.below(16) == 0) restored.restore_from(original);
        FuzzInput same = input;
        const auto expected = original.step(same);
        FTVMM_CHECK(restored.step(input) == expected,
                    "a machine that was restored does what the one it comes from does");
    }
    FTVMM_CHECK(restored.equals(original), "both machines end alike");
    restored.restore_from(original);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    run(FuzzInput({data, size}));
    return 0;
}
