// A machine's state with something in every list of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/random.h"
#include "vmm/machine/machine_state.h"

namespace ftvmm::machine::testing {

inline std::vector<std::byte> some_bytes(std::size_t size) {
    std::vector<std::byte> bytes(size);
    SeededEntropy(size).fill(bytes);
    return bytes;
}

inline virtio::Transport::State sample_transport(std::size_t queues) {
    virtio::Transport::State state;
    state.msix.entries.resize(queues + 1);
    state.queues.resize(queues);
    state.queue_vectors.resize(queues);
    state.device_config = some_bytes(10);
    return state;
}

// No machine can be in this state: it is for the codec, which does not mind.
inline MachineState sample_state() {
    MachineState state;
    state.config.memory_bytes = 1U << 20U;
    state.config.virtio.disks = {{.sectors = 8, .id = "root"},
                                 {.sectors = 16, .read_only = true, .id = "b"}};
    state.config.virtio.nics = {{{2, 0, 0, 0, 0, 1}}};
    state.identity = "web";
    state.machine.cpuid = {{.function = 1, .eax = 2}, {.function = 7, .index_matters = true}};
    auto& virtio = state.machine.platform.virtio;
    virtio.disks.resize(2);
    for (auto& disk : virtio.disks) {
        disk.transport = sample_transport(1);
        disk.in_flight.resize(2);
        disk.in_flight[0].request.kind = virtio::BlkRequest::Kind::kWrite;
        disk.in_flight[0].request.data = SharedBytes::copy_of(some_bytes(7));
        disk.in_flight[1].writable = {{Gpa(0x1000), 512}, {Gpa(0x3000), 1}};
    }
    virtio.nics = {sample_transport(2)};
    virtio.transmit_holds = {{.frames = 2, .bytes = 3000, .since_ns = 7}};
    virtio.rng.transport = sample_transport(1);
    virtio.rng.in_flight = {{{.id = 3, .length = 4}, 5, {{Gpa(0x4000), 4}}}};
    virtio.console = sample_transport(2);
    virtio.waiting_packets = {{some_bytes(30), some_bytes(14)}};
    virtio.waiting_console_bytes = some_bytes(3);
    state.machine.platform.waiting_serial_bytes = some_bytes(5);
    return state;
}

}  // namespace ftvmm::machine::testing
