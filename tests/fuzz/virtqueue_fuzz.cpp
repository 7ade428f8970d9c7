// A virtio device under any driver: it does the same each time, its state is all that it remembers,
// and it says what it wrote.
#include "base/check.h"
#include "fuzz_input.h"
#include "virtio_machine.h"

namespace {

using ftvmm::fuzz::FuzzInput;
using ftvmm::fuzz::VirtioMachine;

// Two machines live the same life, but that one is made anew from the other's state now and then.
void run(FuzzInput input) {
    const std::uint8_t kind = input.below(VirtioMachine::kKinds);
    VirtioMachine original(kind);
    VirtioMachine restored(kind);
    while (!input.empty()) {
        if (input.below(8) == 0) restored.restore_from(original);
        FuzzInput same = input;
        const auto expected = original.step(same);
        FTVMM_CHECK(restored.step(input) == expected,
                    "a device that was restored does what the one it comes from does");
    }
    FTVMM_CHECK(restored.equals(original), "both machines end alike");
    restored.restore_from(original);
    FTVMM_CHECK(restored.equals(original), "a state is taken over whole");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    run(FuzzInput({data, size}));
    return 0;
}
