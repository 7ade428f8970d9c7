#include "node/suspend.h"

#include <variant>

#include "vmm/machine/save_restore.h"

namespace ftvmm::node {

Result<void> suspend(machine::KvmMachine& machine, const std::string& path,
                     std::string_view identity) {
    while (true) {
        FTVMM_ASSIGN(const auto stop, machine.complete());
        if (std::holds_alternative<replay::stop::Kicked>(stop)) break;
        if (std::holds_alternative<replay::stop::NeedsTime>(stop)) {
            machine.apply(replay::input::Time{machine.now()});
        } else if (!std::holds_alternative<replay::stop::Exit>(stop)) {
            return fail("the guest ended at the moment it was to be saved");
        }
    }
    // The rest of an access in pieces may have had outputs. The state asks the disks and the host's
    // entropy for what is in flight once more; a frame may be lost, as on any network.
    (void)machine.take_outputs();
    return machine::save_machine(machine, path, identity);
}

}  // namespace ftvmm::node
