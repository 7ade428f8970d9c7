#include "vmm/machine/save_restore.h"

#include <utility>

#include "vmm/machine/machine_state.h"
#include "vmm/machine/state_file.h"

namespace ftvmm::machine {

namespace {

constexpr const char* kUnreadable =
    "it was made by another version of ftvmm or is damaged: use another file, or start the VM anew";

// An error about the file, which lacks advice where a device or a codec has found it.
Failure unusable(const Error& error, const std::string& path) {
    const Error named = error.with_context(path);
    return Failure(error.advice().empty() ? named.with_advice(kUnreadable) : named);
}

}  // namespace

Result<void> save_machine(const KvmMachine& machine, const std::string& path,
                          std::string_view identity) {
    FTVMM_ASSIGN(auto state, machine.state());
    FTVMM_ASSIGN(const auto encoded,
                 encode_state({machine.config(), std::string(identity), std::move(state)}));
    return write_state_file(path, encoded, machine.memory());
}

Result<std::unique_ptr<KvmMachine>> restore_machine(const kvm::System& system,
                                                    const MachineConfig& config,
                                                    const std::string& path,
                                                    std::string_view identity) {
    FTVMM_ASSIGN(auto file, StateFile::open(path));
    const auto saved = decode_state(file.state().message, file.state().bulk);
    if (!saved) return unusable(saved.error(), path);
    if (const auto same = check_same_machine(*saved, config, identity); !same) {
        return unusable(same.error(), path);
    }
    FTVMM_ASSIGN(auto memory, GuestMemory::create(config.memory_bytes));
    FTVMM_TRY(file.read_memory(memory));
    auto machine = KvmMachine::restore(system, config, saved->machine, std::move(memory));
    if (!machine) return unusable(machine.error(), path);
    return machine;
}

}  // namespace ftvmm::machine
