#include "platform_machine.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <utility>
#include <variant>

#include "base/check.h"
#include "vmm/dev/ticks.h"

namespace ftvmm::fuzz {
namespace {

using machine::Platform;
using replay::output::DiskOperation;
using replay::output::DiskRequest;
using virtio::testing::Buffer;

// Rings behind the first page, data in the second half.
constexpr std::uint64_t kMemoryBytes = 0x1'0000;
constexpr Gpa kRings{0x1000};
constexpr std::uint64_t kRingsBytes = 0x200;
constexpr Gpa kTable{0x7000};
constexpr std::uint64_t kData = 0x8000;
constexpr std::uint16_t kDataMask = 0x7fff;

struct Slot {
    std::uint8_t slot;
    std::uint8_t queues;
    std::uint8_t first_queue;  // In the order of the rings.
};
constexpr std::array<Slot, 5> kSlots{{{machine::kRngSlot, 1, 0},
                                      {machine::kConsoleSlot, 2, 1},
                                      {machine::kFirstDiskSlot, 1, 3},
                                      {machine::kFirstDiskSlot + 1, 1, 4},
                                      {machine::kFirstNicSlot, 2, 5}}};

// Where something answers; most of what an input would name answers nothing.
constexpr std::array<std::uint16_t, 45> kPorts{
    0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x4d1, 0x40,  0x41,  0x42,  0x43,  0x61,  0x70,
    0x71,  0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x5fe, 0x600, 0x601,
    0x602, 0x603, 0x604, 0x605, 0x608, 0x60a, 0x60b, 0x60c, 0x60e, 0x60f, 0xcf8, 0xcf9,
    0xcfa, 0xcfb, 0xcfc, 0xcfd, 0xcfe, 0xcff, 0x80,  0x92,  0xffff};
constexpr std::array<std::uint32_t, 3> kClockMsrs{machine::Interrupts::kPvEoiMsr,
                                                  machine::PvClock::kWallClockMsr,
                                                  machine::PvClock::kSystemTimeMsr};

std::uint64_t number_of(const auto& deadline) {
    return deadline ? static_cast<std::uint64_t>(dev::ns_of(*deadline)) : UINT64_MAX;
}

bool is_same(const DiskRequest& one, const DiskRequest& two) {
    return one.disk == two.disk && one.id == two.id && one.operation == two.operation &&
           one.offset == two.offset && one.length == two.length && one.data == two.data;
}

// What the world is asked for is what it can do, whatever the driver did.
void check_request(const DiskRequest& request) {
    const auto& disks = PlatformMachine::config().disks;
    FTVMM_CHECK(request.disk < disks.size(), "a request is for a disk that is there");
    const std::uint64_t size = disks[request.disk].sectors * virtio::kSectorBytes;
    FTVMM_CHECK(request.length <= size && request.offset <= size - request.length,
                "a request lies on the disk");
    const bool is_write = request.operation == DiskOperation::kWrite;
    FTVMM_CHECK(request.data.size() == (is_write ? request.length : 0),
                "a write has its data, and nothing else has any");
    const bool is_harmless =
        request.operation == DiskOperation::kRead || request.operation == DiskOperation::kFlush;
    FTVMM_CHECK(is_harmless || !disks[request.disk].read_only, "a disk to read is not written");
}

}  // namespace

machine::VirtioConfig PlatformMachine::config() {
    machine::VirtioConfig config;
    config.disks = {{.sectors = 64, .read_only = false, .id = "a"},
                    {.sectors = 8, .read_only = true, .id = "b"}};
    config.nics = {{{2, 0, 0, 0, 0, 1}}};
    return config;
}

PlatformMachine::PlatformMachine()
    : memory_(virtio::testing::make_memory(kMemoryBytes)),
      platform_(std::make_unique<Platform>(config(), memory_)) {}

void PlatformMachine::restore_from(const PlatformMachine& other) {
    const auto state = other.platform_->state();
    const auto disk_requests = std::exchange(disk_requests_, {});
    auto entropy_requests = std::exchange(entropy_requests_, {});
    FTVMM_CHECK(restore(state), "the state of a machine is one that a machine can be in");
    FTVMM_CHECK(platform_->state() == state, "a state is taken over whole");
    for (const DiskRequest& request : disk_requests_) {
        const auto is_it = [&](const DiskRequest& before) { return is_same(before, request); };
        FTVMM_CHECK(std::ranges::any_of(disk_requests, is_it),
                    "what is asked for again was asked for before");
    }
    disk_requests_ = disk_requests;
    entropy_requests_ = std::move(entropy_requests);
}

bool PlatformMachine::restore(const Platform::State& state) {
    auto platform = std::make_unique<Platform>(config(), memory_);
    if (!platform->restore(config(), state)) return false;
    platform_ = std::move(platform);
    Seen asked_again;
    take_outputs(asked_again);
    return true;
}

bool PlatformMachine::equals(const PlatformMachine& other) const {
    return platform_->state() == other.platform_->state() &&
           std::memcmp(memory_.bytes().data(), other.memory_.bytes().data(), kMemoryBytes) == 0;
}

Seen PlatformMachine::step(FuzzInput& input) {
    Seen seen;
    before_.assign(memory_.bytes().begin(), memory_.bytes().end());
    switch (input.below(11)) {
        case 0:
            access_port(input, seen);
            break;
        case 1:
            access_memory(input, seen);
            break;
        case 2:
            access_msr(input, seen);
            break;
        case 3:
            write_ram(input);
            break;
        case 4:
            start(input);
            break;
        case 5:
            offer(input);
            break;
        case 6:
            pass_time(input);
            break;
        case 7:
            give(input);
            break;
        case 8:
            answer_disk(input);
            break;
        case 9:
            answer_entropy(input);
            break;
        default:
            platform_->begin_landmark();
            if (platform_->is_interrupt_pending()) {
                seen.numbers.push_back(platform_->acknowledge_interrupt());
            }
            break;
    }
    look(seen);
    check_written_pages(seen);
    return seen;
}

// One instruction's accesses, several if it is a string one.
void PlatformMachine::access_port(FuzzInput& input, Seen& seen) {
    const std::uint8_t choice = input.take<std::uint8_t>();
    std::uint16_t port = 0;
    if (choice < kPorts.size()) {
        port = kPorts.at(choice);
    } else {
        const auto& device = devices_.at(choice % kDevices);
        port = device ? device->doorbell : input.take<std::uint16_t>();
    }
    const auto size = static_cast<std::uint8_t>(1U << input.below(3));
    const std::uint8_t how = input.take<std::uint8_t>();
    const auto times = static_cast<std::uint8_t>(how >= 0xf8 ? how - 0xf6 : 1);
    platform_->begin_landmark();
    for (std::uint8_t i = 0; i < times; ++i) {
        if ((how & 1U) != 0) {
            seen.numbers.push_back(platform_->read_port(port, size));
        } else {
            platform_->write_port(
                port, size,
                size == 4 ? input.take<std::uint32_t>() : input.take<std::uint8_t>() * 0x0101U);
        }
    }
}

Gpa PlatformMachine::take_address(FuzzInput& input) {
    const std::uint8_t choice = input.below(12);
    if (choice < kSlots.size()) {
        return machine::testing::bar_of(*platform_, kSlots.at(choice).slot) +
               input.take<std::uint16_t>() % virtio::kMemoryBarBytes;
    }
    if (choice < 2 * kSlots.size()) {
        return machine::testing::config_of(kSlots.at(choice - kSlots.size()).slot) +
               input.take<std::uint8_t>();
    }
    if (choice == 10) return boot::kEcamBase + input.take<std::uint32_t>() % 0x10'0010U;
    return Gpa(input.take<std::uint64_t>());
}

// KVM cuts an access at a page's end, so that it may have any size.
void PlatformMachine::access_memory(FuzzInput& input, Seen& seen) {
    const Gpa address = take_address(input);
    const std::uint8_t how = input.take<std::uint8_t>();
    const auto size = static_cast<std::uint8_t>((how & 0x40U) != 0 ? 1U + (how >> 1U & 7U)
                                                                   : 1U << (how >> 1U & 3U));
    platform_->begin_landmark();
    if ((how & 1U) != 0) {
        seen.numbers.push_back(platform_->read_memory(address, size));
        return;
    }
    const auto value =
        (how & 0x80U) != 0 ? input.take<std::uint64_t>() : input.take<std::uint8_t>();
    platform_->write_memory(address, size, value);
}

void PlatformMachine::access_msr(FuzzInput& input, Seen& seen) {
    const std::uint8_t choice = input.take<std::uint8_t>();
    const std::uint32_t msr =
        choice < 0xfd ? dev::X2Apic::kFirstMsr + choice : kClockMsrs.at(choice - 0xfdU);
    const std::uint8_t how = input.take<std::uint8_t>();
    platform_->begin_landmark();
    if ((how & 1U) != 0) {
        const auto value = platform_->read_msr(msr);
        seen.numbers.insert(seen.numbers.end(), {value.has_value() ? 1U : 0U, value.value_or(0)});
        return;
    }
    std::uint64_t value = input.take<std::uint16_t>();
    if ((how & 2U) != 0) value |= std::uint64_t{input.take<std::uint16_t>()} << 16U;
    if ((how & 4U) != 0) value |= std::uint64_t{input.take<std::uint32_t>()} << 32U;
    seen.numbers.push_back(platform_->write_msr(msr, value) ? 1 : 0);
}

void PlatformMachine::write_ram(FuzzInput& input) {
    const Gpa address{input.take<std::uint16_t>()};
    const auto bytes = input.take_bytes(1U + input.below(32));
    (void)memory_.write(address, bytes);
    before_.assign(memory_.bytes().begin(), memory_.bytes().end());
}

// Starts a device as Linux does, but for some of the features.
void PlatformMachine::start(FuzzInput& input) {
    const std::uint8_t which = input.below(kDevices);
    const Slot& slot = kSlots.at(which);
    const Gpa rings = kRings + kRingsBytes * slot.first_queue;
    for (const std::uint64_t part : {0x0000U, 0x1000U, 0x2000U}) {
        std::ranges::fill(memory_.find(rings + part, kRingsBytes * slot.queues), std::byte{0});
    }
    before_.assign(memory_.bytes().begin(), memory_.bytes().end());
    devices_.at(which) = machine::testing::start_device(
        memory_, *platform_,
        {.slot = slot.slot,
         .queues = slot.queues,
         .rings = rings,
         .rings_bytes = kRingsBytes,
         .ring_size = static_cast<std::uint16_t>(1U << input.below(5)),
         .without = input.take_bool() ? input.take<std::uint32_t>() : 0});
}

// Offers a chain of a few buffers and rings.
void PlatformMachine::offer(FuzzInput& input) {
    auto& device = devices_.at(input.below(kDevices));
    if (!device) return;
    const std::uint8_t how = input.take<std::uint8_t>();
    const auto index = static_cast<std::uint16_t>((how & 1U) % device->queues.size());
    std::vector<Buffer> buffers(how >> 4U & 7U);
    for (Buffer& buffer : buffers) {
        buffer.address = kData + (input.take<std::uint16_t>() & kDataMask);
        const auto length = input.take<std::uint16_t>();
        buffer.length = length & kDataMask;
        buffer.writable = length > kDataMask;
    }
    if ((how & 2U) != 0) {
        (void)device->queues[index].add_indirect(buffers, kTable);
    } else {
        (void)device->queues[index].add(buffers);
    }
    before_.assign(memory_.bytes().begin(), memory_.bytes().end());
    if ((how & 4U) != 0) return;
    platform_->begin_landmark();
    platform_->write_port(device->doorbell, 2, index);
}

// By a step of any length, or to the very time at which the platform wants to be looked at.
void PlatformMachine::pass_time(FuzzInput& input) {
    const std::int64_t now = dev::ns_of(platform_->now());
    const auto due = platform_->next_deadline();
    std::int64_t next = now;
    switch (input.below(5)) {
        case 0:
            next += input.take<std::uint16_t>();
            break;
        case 1:
            next += input.take<std::uint32_t>();
            break;
        case 2:
            if (due) next = dev::ns_of(*due);
            break;
        case 3:
            if (due) next = dev::ns_of(*due) - 1;
            break;
        default:
            next = static_cast<std::int64_t>(input.take<std::uint64_t>() >> 1U);
            break;
    }
    // Time that goes back does not go on.
    const GuestTime time = dev::at_ns(std::clamp<std::int64_t>(next, 0, dev::kMaxGuestNs));
    platform_->apply(replay::input::Time{time});
    FTVMM_CHECK(platform_->now() == std::max(time, dev::at_ns(now)), "time does not go back");
    const auto later = platform_->next_deadline();
    FTVMM_CHECK(!later || *later > platform_->now(), "what was due by now has happened");
}

void PlatformMachine::give(FuzzInput& input) {
    using namespace replay;
    const std::uint8_t kind = input.below(5);
    if (kind == 0) return platform_->apply(input::PowerButton{});
    if (kind == 1) {
        const std::chrono::nanoseconds since_1970(
            static_cast<std::int64_t>(input.take<std::uint64_t>()));
        return platform_->apply(
            input::WallClock{std::chrono::sys_time<std::chrono::nanoseconds>(since_1970)});
    }
    if (kind <= 3) {
        const auto bytes = input.take_bytes(input.take<std::uint8_t>() / 4U);
        const auto port = kind == 2 ? ConsolePort::kSerial : ConsolePort::kVirtio;
        return platform_->apply(input::ConsoleBytes{bytes, port});
    }
    // The header is what is read of a frame: the rest is all alike.
    auto frame = input.take_bytes(virtio::kNetHeaderBytes);
    frame.resize(input.take<std::uint16_t>() + std::size_t{input.below(64)}, std::byte{0x3c});
    platform_->apply(input::Packet{input.below(2), frame});
}

void PlatformMachine::answer_disk(FuzzInput& input) {
    const std::uint8_t choice = input.take<std::uint8_t>();
    const bool is_ok = (choice & 1U) != 0;
    if (disk_requests_.empty() || choice >= 0xf0) {
        const auto id = input.take<std::uint8_t>();
        const auto bytes = input.take_bytes(input.below(4));
        platform_->apply(replay::input::DiskCompletion{choice % 3U, id, is_ok, bytes});
        return;
    }
    const auto at =
        disk_requests_.begin() + static_cast<std::ptrdiff_t>(choice / 2U % disk_requests_.size());
    const DiskRequest request = *at;
    disk_requests_.erase(at);
    const bool is_read = request.operation == DiskOperation::kRead;
    const std::uint64_t missing = input.below(2);
    const std::vector<std::byte> data(
        is_read ? request.length - std::min(missing, request.length) : 0, std::byte{0x5a});
    platform_->apply(replay::input::DiskCompletion{request.disk, request.id, is_ok, data});
}

void PlatformMachine::answer_entropy(FuzzInput& input) {
    const std::uint8_t choice = input.take<std::uint8_t>();
    const std::vector<std::byte> bytes(input.take<std::uint16_t>() % 5000, std::byte{0xa5});
    std::uint64_t id = choice;
    if (!entropy_requests_.empty() && choice < 0xf0) {
        id = entropy_requests_.back().id;
        entropy_requests_.pop_back();
    }
    platform_->apply(replay::input::Entropy{id, bytes});
}

// What the machine and the host look at between two steps.
void PlatformMachine::look(Seen& seen) {
    using replay::ConsolePort;
    const auto flag = [](bool value) { return std::uint64_t{value ? 1U : 0U}; };
    take_outputs(seen);
    const auto events = platform_->take_events();
    seen.numbers.insert(
        seen.numbers.end(),
        {number_of(platform_->next_deadline()), number_of(std::optional(platform_->now())),
         flag(platform_->is_interrupt_pending()), flag(platform_->take_nmi()),
         flag(events.power_off), flag(events.reset), flag(platform_->shows_time()),
         flag(platform_->wants_packets(0)),
         flag(platform_->wants_console_bytes(ConsolePort::kVirtio)),
         flag(platform_->wants_console_bytes(ConsolePort::kSerial))});
}

void PlatformMachine::take_outputs(Seen& seen) {
    using namespace replay::output;
    for (auto& output : platform_->take_outputs()) {
        seen.numbers.push_back(output.index());
        if (auto* disk = std::get_if<DiskRequest>(&output)) {
            check_request(*disk);
            seen.numbers.insert(seen.numbers.end(),
                                {disk->disk, disk->id, static_cast<std::uint64_t>(disk->operation),
                                 disk->offset, disk->length});
            seen.bytes.emplace_back(disk->data.begin(), disk->data.end());
            disk_requests_.push_back(std::move(*disk));
        } else if (const auto* entropy = std::get_if<EntropyRequest>(&output)) {
            FTVMM_CHECK(entropy->length > 0 && entropy->length <= virtio::kMaxRngBytes,
                        "a request for random bytes has its limits");
            seen.numbers.insert(seen.numbers.end(), {entropy->id, entropy->length});
            entropy_requests_.push_back(*entropy);
        } else if (auto* text = std::get_if<ConsoleBytes>(&output)) {
            seen.bytes.push_back(std::move(text->bytes));
        } else if (auto* packet = std::get_if<Packet>(&output)) {
            FTVMM_CHECK(packet->nic == 0 && packet->frame.size() <= virtio::kMaxFrameBytes,
                        "a frame can be sent");
            seen.bytes.push_back(std::move(packet->frame));
        }
    }
}

// A page that a device changed without saying so would be missing in the Secondary's copy.
void PlatformMachine::check_written_pages(Seen& seen) {
    seen.pages = platform_->dma().take_written_pages();
    const std::span<const std::byte> now = memory_.bytes();
    for (std::uint64_t page = 0; page < kMemoryBytes / kPageBytes; ++page) {
        const std::uint64_t at = page * kPageBytes;
        if (std::memcmp(before_.data() + at, now.data() + at, kPageBytes) == 0) continue;
        FTVMM_CHECK(std::ranges::count(seen.pages, page) == 1,
                    "a page that a device wrote is known as written, once");
    }
}

}  // namespace ftvmm::fuzz
