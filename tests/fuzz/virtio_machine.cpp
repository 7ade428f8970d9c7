#include "virtio_machine.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace ftvmm::fuzz {
namespace {

using virtio::testing::Buffer;
using virtio::testing::Driver;
using virtio::testing::DriverQueue;

// Rings in the first half, tables behind them, data in the second.
constexpr std::uint64_t kMemoryBytes = 0x2'0000;
constexpr Gpa kFirstQueue{0x4000};
constexpr Gpa kTable{0xc000};
constexpr std::uint64_t kData = 0x1'0000;

constexpr std::uint64_t kSectors = 4096;
constexpr std::uint8_t kMostFrames = 3;

virtio::BlkConfig disk_config() {
    return {.sectors = kSectors, .read_only = false, .id = "fuzz"};
}

constexpr virtio::NetConfig kNetConfig{{2, 0, 0, 0, 0, 1}};

Device make_device(std::uint8_t kind) {
    switch (kind) {
        case 0:
            return virtio::Blk(disk_config());
        case 1:
            return virtio::Net(kNetConfig);
        case 2:
            return virtio::Rng();
        default:
            return virtio::Console();
    }
}

template <class T>
Device made(Result<T> device) {
    FTVMM_CHECK(device, "the state of a device is one that a device can be in");
    return std::move(*device);
}
Device restore(const virtio::Blk& blk) {
    return made(virtio::Blk::from_state(disk_config(), blk.state()));
}
Device restore(const virtio::Net& net) {
    return made(virtio::Net::from_state(kNetConfig, net.state()));
}
Device restore(const virtio::Rng& rng) {
    return made(virtio::Rng::from_state(rng.state()));
}
Device restore(const virtio::Console& console) {
    return made(virtio::Console::from_state(console.state()));
}

// Byte by byte under a sanitizer this would be most of a fuzzer's time.
bool are_same(std::span<const std::byte> one, std::span<const std::byte> two) {
    return std::memcmp(one.data(), two.data(), one.size()) == 0;
}

void append(virtio::Interrupts& all, const virtio::Interrupts& more) {
    all.insert(all.end(), more.begin(), more.end());
}

// What a device asks for is what the machine can do, whatever the driver did.
void take_work(const virtio::Blk::Work& work, Reaction& reaction) {
    for (const virtio::BlkRequest& request : work.requests) {
        const std::uint64_t count = request.length / virtio::kSectorBytes;
        FTVMM_CHECK(count <= kSectors && request.sector <= kSectors - count,
                    "a request lies on the disk");
        const bool is_write = request.kind == virtio::BlkRequest::Kind::kWrite;
        FTVMM_CHECK(request.data.size() == (is_write ? request.length : 0),
                    "a write has its data, and nothing else has any");
        reaction.numbers.insert(
            reaction.numbers.end(),
            {request.id, static_cast<std::uint64_t>(request.kind), request.sector, request.length});
        reaction.bytes.emplace_back(request.data.begin(), request.data.end());
    }
    append(reaction.interrupts, work.interrupts);
}

void take_work(virtio::Net::Work work, Reaction& reaction) {
    for (virtio::NetFrame& frame : work.frames) {
        FTVMM_CHECK(frame.size() >= virtio::kNetHeaderBytes + virtio::kEthernetBytes &&
                        frame.size() <= virtio::kMaxFrameBytes,
                    "a frame can be sent");
        reaction.bytes.push_back(std::move(frame));
    }
    reaction.numbers.insert(reaction.numbers.end(), {work.dropped, work.has_room ? 1U : 0U});
    append(reaction.interrupts, work.interrupts);
}

void take_work(const virtio::Rng::Work& work, Reaction& reaction) {
    for (const virtio::RngRequest& request : work.requests) {
        FTVMM_CHECK(request.length > 0 && request.length <= virtio::kMaxRngBytes,
                    "a request for random bytes has its limits");
        reaction.numbers.insert(reaction.numbers.end(), {request.id, request.length});
    }
    append(reaction.interrupts, work.interrupts);
}

void take_work(virtio::Console::Work work, Reaction& reaction) {
    reaction.bytes.push_back(std::move(work.output));
    reaction.numbers.push_back(work.has_room ? 1 : 0);
    append(reaction.interrupts, work.interrupts);
}

// One of the requests in flight, of which there are some.
template <class Entries>
auto pick(const Entries& entries, FuzzInput& input) {
    return entries[input.take<std::uint8_t>() % entries.size()].request;
}

virtio::Interrupts answer_one(virtio::Blk& blk, virtio::Dma& dma, FuzzInput& input) {
    if (blk.in_flight().empty()) return blk.complete(dma, input.take<std::uint8_t>(), true);
    const auto request = pick(blk.in_flight(), input);
    const bool is_read = request.kind == virtio::BlkRequest::Kind::kRead;
    const std::vector<std::byte> data(is_read ? request.length - input.below(2) : 0,
                                      std::byte{0x5a});
    return blk.complete(dma, request.id, input.take_bool(), data);
}

virtio::Interrupts answer_one(virtio::Rng& rng, virtio::Dma& dma, FuzzInput& input) {
    if (rng.in_flight().empty()) return rng.complete(dma, input.take<std::uint8_t>(), {});
    const std::uint64_t id = pick(rng.in_flight(), input).id;
    const std::vector<std::byte> bytes(input.take<std::uint16_t>() % 5000, std::byte{0xa5});
    return rng.complete(dma, id, bytes);
}

// Frames of any size, most of the bytes of which are the same: it is the header that is read.
std::vector<virtio::NetFrame> take_frames(FuzzInput& input) {
    std::vector<virtio::NetFrame> frames(input.below(kMostFrames + 1));
    for (virtio::NetFrame& frame : frames) {
        frame = input.take_bytes(virtio::kNetHeaderBytes);
        frame.resize(input.take<std::uint16_t>() + std::size_t{input.below(64)}, std::byte{0x3c});
    }
    return frames;
}

}  // namespace

VirtioMachine::VirtioMachine(std::uint8_t kind)
    : memory_(virtio::testing::make_memory(kMemoryBytes)),
      dma_(memory_),
      device_(make_device(kind)) {}

virtio::Transport& VirtioMachine::transport() {
    return std::visit([](auto& device) -> virtio::Transport& { return device; }, device_);
}

void VirtioMachine::restore_from(const VirtioMachine& other) {
    device_ = std::visit([](const auto& from) { return restore(from); }, other.device_);
}

bool VirtioMachine::equals(const VirtioMachine& other) const {
    const bool same_device = std::visit(
        [](const auto& one, const auto& two) {
            if constexpr (std::is_same_v<decltype(one), decltype(two)>) {
                return one.state() == two.state();
            } else {
                return false;
            }
        },
        device_, other.device_);
    return same_device && are_same(memory_.bytes(), other.memory_.bytes());
}

Reaction VirtioMachine::step(FuzzInput& input) {
    Reaction reaction;
    switch (input.below(8)) {
        case 0:
            write_register(input, reaction);
            break;
        case 1:
            read_register(input, reaction);
            break;
        case 2:
            access_config(input, reaction);
            break;
        case 3:
            start(input);
            break;
        case 4:
            write_memory(input);
            break;
        case 5:
            offer(input);
            break;
        case 6:
            react(transport().write_bar(virtio::kDoorbellBar, 0, 2, input.below(3)), reaction);
            break;
        default:
            answer(input, reaction);
            break;
    }
    return reaction;
}

void VirtioMachine::write_register(FuzzInput& input, Reaction& reaction) {
    const std::uint8_t size = static_cast<std::uint8_t>(1U << input.below(4));
    const bool is_doorbell = input.below(8) == 0;
    const std::uint32_t range = is_doorbell ? virtio::kDoorbellBarBytes : virtio::kMemoryBarBytes;
    const std::uint32_t offset = (input.take<std::uint16_t>() % range) & ~(size - 1U);
    const auto bar = is_doorbell ? virtio::kDoorbellBar : virtio::kMemoryBar;
    const auto value = input.take_bool() ? input.take<std::uint64_t>() : input.take<std::uint8_t>();
    react(transport().write_bar(bar, offset, size, value), reaction);
}

void VirtioMachine::read_register(FuzzInput& input, Reaction& reaction) {
    const std::uint8_t size = static_cast<std::uint8_t>(1U << input.below(4));
    const std::uint32_t offset =
        (input.take<std::uint16_t>() % virtio::kMemoryBarBytes) & ~(size - 1U);
    reaction.numbers.push_back(transport().read_bar(virtio::kMemoryBar, offset, size));
}

void VirtioMachine::access_config(FuzzInput& input, Reaction& reaction) {
    const std::uint8_t size = static_cast<std::uint8_t>(1U << input.below(3));
    const auto offset = static_cast<std::uint16_t>(input.take<std::uint8_t>() & ~(size - 1U));
    if (input.take_bool()) {
        react(transport().write_config(offset, size, input.take<std::uint32_t>()), reaction);
    } else {
        reaction.numbers.push_back(transport().read_config(offset, size));
    }
}

// Sets the device up as Linux does, but for some of the features.
void VirtioMachine::start(FuzzInput& input) {
    Driver driver(memory_, transport());
    driver.enable_pci();
    const std::uint64_t without = input.take<std::uint32_t>();
    (void)driver.negotiate(driver.offered() & ~without);
    const auto size = static_cast<std::uint16_t>(1U << input.below(9));
    std::uint16_t index = 0;
    for (auto& queue : queues_) {
        const Gpa base = kFirstQueue + virtio::testing::kQueueBytes * index;
        std::ranges::fill(memory_.find(base, virtio::testing::kQueueBytes), std::byte{0});
        queue = driver.set_up(index++, base, size);
    }
    driver.add_status(virtio::status::kDriverOk);
}

void VirtioMachine::write_memory(FuzzInput& input) {
    const Gpa address{(input.take_bool() ? kData : 0) + input.take<std::uint16_t>()};
    const auto bytes = input.take_bytes(1U + input.below(32));
    (void)memory_.write(address, bytes);
}

// Offers a chain of a few buffers, most of them in memory.
void VirtioMachine::offer(FuzzInput& input) {
    auto& queue = queues_.at(input.below(2));
    if (!queue) return;
    const bool is_indirect = input.take_bool();
    std::vector<Buffer> buffers(input.below(6));
    for (Buffer& buffer : buffers) {
        buffer.address = kData + input.take<std::uint16_t>();
        buffer.length = input.take<std::uint16_t>();
        buffer.writable = input.take_bool();
    }
    if (is_indirect) {
        (void)queue->add_indirect(buffers, kTable);
    } else {
        (void)queue->add(buffers);
    }
}

void VirtioMachine::answer(FuzzInput& input, Reaction& reaction) {
    before_.assign(memory_.bytes().begin(), memory_.bytes().end());
    if (auto* blk = std::get_if<virtio::Blk>(&device_)) {
        reaction.interrupts = answer_one(*blk, dma_, input);
    } else if (auto* rng = std::get_if<virtio::Rng>(&device_)) {
        reaction.interrupts = answer_one(*rng, dma_, input);
    } else if (auto* net = std::get_if<virtio::Net>(&device_)) {
        const auto frames = take_frames(input);
        const auto received = net->receive(dma_, frames);
        FTVMM_CHECK(received.taken <= frames.size() && received.dropped <= received.taken,
                    "no more frames are taken than there are");
        reaction.numbers = {received.taken, received.dropped};
        reaction.interrupts = received.interrupts;
    } else if (auto* console = std::get_if<virtio::Console>(&device_)) {
        const auto bytes = input.take_bytes(input.take<std::uint8_t>());
        const auto received = console->receive(dma_, bytes);
        FTVMM_CHECK(received.taken <= bytes.size(), "no more input is taken than there is");
        reaction.numbers = {received.taken};
        reaction.interrupts = received.interrupts;
    }
    check_written_pages(reaction);
}

void VirtioMachine::react(const pci::Effects& effects, Reaction& reaction) {
    append(reaction.interrupts, effects.messages);
    if (!effects.doorbell) return;
    before_.assign(memory_.bytes().begin(), memory_.bytes().end());
    std::visit([&](auto& device) { take_work(device.notify(dma_, *effects.doorbell), reaction); },
               device_);
    check_written_pages(reaction);
}

// A page that a device changed without saying so would be missing in the Secondary's copy.
void VirtioMachine::check_written_pages(Reaction& reaction) {
    reaction.pages = dma_.take_written_pages();
    const std::span<const std::byte> now = memory_.bytes();
    for (std::uint64_t page = 0; page < kMemoryBytes / kPageBytes; ++page) {
        const std::uint64_t at = page * kPageBytes;
        if (are_same(std::span(before_).subspan(at, kPageBytes), now.subspan(at, kPageBytes))) {
            continue;
        }
        FTVMM_CHECK(std::ranges::count(reaction.pages, page) == 1,
                    "a page that a device wrote is known as written, once");
    }
}

}  // namespace ftvmm::fuzz
