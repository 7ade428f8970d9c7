// All that is known of a machine at rest but its memory, and the bytes that it becomes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::machine {

// A message takes less: 16 disks with every queue full of the longest chains come to 12 MiB. It
// also bounds what a damaged one can make its reader allocate.
inline constexpr std::uint64_t kMaxMessageBytes = std::uint64_t{16} << 20U;
// Disk data on its way and frames that wait. Each of the 16 disks may have 256 MiB under way, which
// no host lets happen: what is more than this is not saved before some of it is done.
inline constexpr std::uint64_t kMaxBulkBytes = std::uint64_t{1} << 30U;

struct MachineState {
    MachineConfig config;
    std::string identity;  // Whose it is, in the words of whoever saved it; may be empty.
    KvmMachine::State machine;
};

// proto/state.proto's MachineState, and what lies beside it.
struct EncodedState {
    std::string message;
    std::vector<std::byte> bulk;
};

// An error where more is in flight than a file takes.
Result<EncodedState> encode_state(const MachineState& state);

// Every number is in its field's range and every list as long as it must be; whether a machine can
// be in that state is for KvmMachine::restore() to say. Any bytes may be given: what they can make
// this allocate is bounded by their own size.
Result<MachineState> decode_state(std::string_view message, std::span<const std::byte> bulk);

// Whether a machine of `config` called `identity` is the one that was saved; an error says what
// differs. An empty identity on either side is not compared.
Result<void> check_same_machine(const MachineState& saved, const MachineConfig& config,
                                std::string_view identity);

}  // namespace ftvmm::machine
