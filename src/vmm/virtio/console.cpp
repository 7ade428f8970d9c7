#include "vmm/virtio/console.h"

#include <algorithm>

namespace ftvmm::virtio {

Console::Console()
    : Transport({.id = 3, .class_code = 0x07'8000, .features = 0, .queues = 2, .config_bytes = 0}) {
}

Result<Console> Console::from_state(const State& state) {
    Console console;
    FTVMM_TRY(console.restore(state));
    return console;
}

Console::Work Console::notify(Dma& dma, std::uint16_t index) {
    Work work;
    if (!may_work(index)) return work;
    if (index == kInput) {
        work.has_room = true;
        return work;
    }
    while (const auto chain = queue(kOutput).pop(dma)) {
        if (!chain->writable.empty() || total_length(chain->readable) > kMaxConsoleBytes) {
            queue(kOutput).mark_broken();
            break;
        }
        const auto bytes = gather(dma, chain->readable, kMaxConsoleBytes);
        work.output.insert(work.output.end(), bytes.begin(), bytes.end());
        queue(kOutput).push_used(dma, chain->head, 0);
    }
    queue(kOutput).want_notification(dma);
    finish(dma, kOutput, work.interrupts);
    return work;
}

Console::Received Console::receive(Dma& dma, std::span<const std::byte> input) {
    Received received;
    if (!may_work(kInput)) return received;
    while (received.taken < input.size()) {
        const auto chain = queue(kInput).pop(dma);
        if (!chain) break;
        if (!chain->readable.empty()) {
            queue(kInput).mark_broken();
            break;
        }
        const auto written = scatter(dma, chain->writable, 0, input.subspan(received.taken));
        queue(kInput).push_used(dma, chain->head, static_cast<std::uint32_t>(written));
        received.taken += written;
    }
    queue(kInput).want_notification(dma);
    finish(dma, kInput, received.interrupts);
    return received;
}

}  // namespace ftvmm::virtio
