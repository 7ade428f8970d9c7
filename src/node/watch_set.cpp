#include "node/watch_set.h"

#include <utility>

namespace ftvmm::node {

void WatchSet::remove(const debug::Watch& watch) {
    std::erase_if(stretches_, [&](const Stretch& stretch) { return stretch.watch == watch; });
}

std::optional<std::uint64_t> WatchSet::changed(const machine::KvmMachine& machine) {
    std::optional<std::uint64_t> first;
    for (Stretch& stretch : stretches_) {
        const bool was_found = !stretch.place.empty();
        if (!was_found) find(stretch, machine);
        auto now = read(stretch, machine);
        if (now == stretch.bytes) continue;
        if (was_found && !first) first = stretch.watch.address;
        stretch.bytes = std::move(now);
    }
    return first;
}

void WatchSet::find(Stretch& stretch, const machine::KvmMachine& machine) {
    std::vector<Gpa> place;
    for (std::uint64_t i = 0; i < stretch.watch.bytes; ++i) {
        const auto at = machine.find_linear(stretch.watch.address + i);
        if (!at || machine.memory().find(*at, 1).empty()) return;
        place.push_back(*at);
    }
    stretch.place = std::move(place);
}

std::vector<std::byte> WatchSet::read(const Stretch& stretch, const machine::KvmMachine& machine) {
    std::vector<std::byte> bytes;
    for (const Gpa at : stretch.place)
        bytes.push_back(machine.memory().find(at, 1).front());
    return bytes;
}

}  // namespace ftvmm::node
