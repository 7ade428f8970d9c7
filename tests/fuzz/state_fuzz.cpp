// Any bytes as a saved machine: a message and what lies beside it, or a whole file. What is taken
// comes back as it was when it is saved again, and a machine can live with it or refuses it.
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../unit/machine/state_fields.h"
#include "base/check.h"
#include "base/fd.h"
#include "fuzz_input.h"
#include "platform_machine.h"
#include "state_from_bytes.h"
#include "state_input.h"
#include "vmm/machine/machine_state.h"
#include "vmm/machine/state_file.h"

namespace ftvmm::fuzz {
namespace {

using Bytes = std::span<const std::byte>;

// Two machines go on with one state as in platform_fuzz.cpp.
void live_on(machine::Platform::State state, FuzzInput input) {
    if (input.take_bool()) change_fields(state, input);
    PlatformMachine original;
    PlatformMachine restored;
    if (!original.restore(state)) return;
    FTVMM_CHECK(original.state() == state, "a state is taken over whole");
    FTVMM_CHECK(restored.restore(state), "what was taken once is taken again");
    while (!input.empty()) {
        if (input.below(4) == 0) restored.restore_from(original);
        FuzzInput same = input;
        const auto expected = original.step(same);
        FTVMM_CHECK(restored.step(input) == expected,
                    "a machine that was restored does what the one it comes from does");
    }
    FTVMM_CHECK(restored.equals(original), "both machines end alike");
}

void try_message(std::string_view message, Bytes bulk, FuzzInput steps) {
    const auto state = machine::decode_state(message, bulk);
    if (!state) return;
    const auto encoded = machine::encode_state(*state);
    FTVMM_CHECK(encoded, "what fitted into a file fits again");
    const auto again = machine::decode_state(encoded->message, encoded->bulk);
    FTVMM_CHECK(again, "what was saved can be read");
    FTVMM_CHECK(machine::testing::flatten(*again) == machine::testing::flatten(*state),
                "what was saved comes back as it was");
    live_on(state->machine.platform, steps);
}

std::uint64_t number_at(std::span<const std::byte> file, std::size_t at) {
    std::uint64_t value = 0;
    std::memcpy(&value, file.data() + at, sizeof value);
    return value;
}

// Writes the checksum of the `size` bytes from `from` behind them; false where the file ends
// before.
bool sign(std::vector<std::byte>& file, std::size_t from, std::uint64_t size) {
    if (size > file.size() - from || file.size() - from - size < sizeof(std::uint64_t)) {
        return false;
    }
    const std::uint64_t checksum = ::XXH3_64bits(file.data() + from, size);
    std::memcpy(file.data() + from + size, &checksum, sizeof checksum);
    return true;
}

// Makes every checksum of docs/state-format.md right, as no mutation does by chance.
void sign(std::vector<std::byte>& file) {
    constexpr std::size_t kHeader = 32;
    constexpr std::size_t kRecord = 48;
    constexpr std::size_t kEnd = 24;
    constexpr std::size_t kWord = sizeof(std::uint64_t);
    if (!sign(file, 0, kHeader)) return;
    std::size_t at = kHeader + kWord;
    const std::uint64_t message = number_at(file, 16);
    const std::uint64_t bulk = number_at(file, 24);
    if (message > file.size() || bulk > file.size()) return;
    if (!sign(file, at, message + bulk)) return;
    at += message + bulk + kWord;
    while (file.size() - at >= kRecord) {
        const std::uint64_t kind = number_at(file, at);
        if ((kind & UINT32_MAX) != 1) break;
        const std::uint64_t record = kRecord + (kind >> 32U);
        if (!sign(file, at, record)) return;
        at += record + kWord;
    }
    if (file.size() - at >= kEnd) (void)sign(file, 0, at + kEnd);
}

// The path of a file that holds `bytes` and is gone with the descriptor.
std::optional<Fd> make_file(Bytes bytes) {
    Fd fd(::memfd_create("state", MFD_CLOEXEC));
    if (!fd.valid()) return std::nullopt;
    const auto written = ::write(fd.get(), bytes.data(), bytes.size());
    if (written != static_cast<ssize_t>(bytes.size())) return std::nullopt;
    return fd;
}

void try_file(Bytes bytes, bool is_signed, FuzzInput steps) {
    std::vector<std::byte> contents(bytes.begin(), bytes.end());
    if (is_signed) sign(contents);
    const auto fd = make_file(contents);
    if (!fd) return;
    auto file = machine::StateFile::open("/proc/self/fd/" + std::to_string(fd->get()));
    if (!file) {
        FTVMM_CHECK(!file.error().what().empty(), "a refusal has a reason");
        return;
    }
    const PlatformMachine machine;
    if (!file->read_memory(machine.memory())) return;
    try_message(file->state().message, file->state().bulk, steps);
}

void run(std::span<const std::uint8_t> bytes) {
    const StateInput input(bytes);
    if (input.is_file()) return try_file(input.rest(), input.is_signed(), FuzzInput(input.steps()));
    const auto rest = input.rest();
    const auto message = rest.subspan(input.bulk().size());
    try_message({reinterpret_cast<const char*>(message.data()), message.size()}, input.bulk(),
                FuzzInput(input.steps()));
}

}  // namespace
}  // namespace ftvmm::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ftvmm::fuzz::run({data, size});
    return 0;
}
