#include "node/suspend.h"

#include <chrono>
#include <thread>
#include <variant>

#include "vmm/machine/save_restore.h"

namespace ftvmm::node {

Result<void> complete(machine::KvmMachine& machine) {
    while (true) {
        FTVMM_ASSIGN(const auto stop, machine.complete());
        if (std::holds_alternative<replay::stop::Kicked>(stop)) return {};
        if (std::holds_alternative<replay::stop::NeedsTime>(stop)) {
            machine.apply(replay::input::Time{machine.now()});
        } else if (!std::holds_alternative<replay::stop::Exit>(stop)) {
            return fail("the guest ended at the moment it was to be saved");
        }
    }
}

Result<void> settle_disks(VcpuControl& control) {
    constexpr std::chrono::milliseconds kEvery{5};
    constexpr int kMostLooks = 2000;  // Ten seconds.
    for (int i = 0; i < kMostLooks; ++i) {
        bool settled = false;
        FTVMM_TRY(control.call([&](replay::GuestMachine& guest) {
            auto& machine = dynamic_cast<machine::KvmMachine&>(guest);
            machine.let_disks_reach_memory(false);
            settled = !machine.do_disks_reach_memory();
        }));
        if (settled) return {};
        std::this_thread::sleep_for(kEvery);
    }
    return fail("a disk has not answered for 10 s", "look at the storage, and save it then");
}

Result<void> suspend(machine::KvmMachine& machine, const std::string& path,
                     std::string_view identity) {
    // A machine of the guest's next life.
    if (machine.do_disks_reach_memory()) {
        return fail("the guest started anew at the moment it was to be saved");
    }
    FTVMM_TRY(complete(machine));
    // The rest of an access in pieces may have had outputs. The state asks the disks and the host's
    // entropy for what is in flight once more; a frame may be lost, as on any network.
    (void)machine.take_outputs();
    return machine::save_machine(machine, path, identity);
}

}  // namespace ftvmm::node
