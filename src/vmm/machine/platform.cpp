#include "vmm/machine/platform.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/overloaded.h"
#include "vmm/dev/ticks.h"

namespace ftvmm::machine {

namespace {

bool is_pic(std::uint16_t port) {
    return port == 0x20 || port == 0x21 || port == 0xa0 || port == 0xa1 || port == 0x4d0 ||
           port == 0x4d1;
}
bool is_pit(std::uint16_t port) {
    return (port >= 0x40 && port <= 0x43) || port == 0x61;
}
bool is_rtc(std::uint16_t port) {
    return port == dev::RtcCmos::kIndexPort || port == dev::RtcCmos::kDataPort;
}
bool is_serial(std::uint16_t port) {
    return port >= kCom1 && port < kCom1 + dev::Serial16550::kPorts;
}
bool is_acpi(std::uint16_t port, std::uint8_t size) {
    const bool is_reset = port == dev::AcpiPm::kResetControlPort && size == 1;
    return is_reset ||
           (port >= dev::AcpiPm::kBase && port < dev::AcpiPm::kBase + dev::AcpiPm::kPorts);
}

bool is_clock_msr(std::uint32_t msr) {
    return msr == PvClock::kWallClockMsr || msr == PvClock::kSystemTimeMsr;
}

// No timer can have been started, and no flag set, later than now.
Result<void> check_times(const Platform::State& state) {
    if (state.now_ns < 0 || state.now_ns > dev::kMaxGuestNs) {
        return fail("the guest's clock is outside of time");
    }
    const std::uint64_t tick = dev::ticks_at(dev::at_ns(state.now_ns), dev::Pit8254::kHz);
    const bool is_past =
        state.interrupts.apic.period_start_ns <= state.now_ns &&
        state.rtc.advanced_ns <= state.now_ns &&
        state.pv_clock.read_at_ns.value_or(0) <= state.now_ns &&
        std::ranges::all_of(
            state.pit.channels,
            [&](const dev::Pit8254::Channel& channel) { return channel.since_tick <= tick; }) &&
        std::ranges::all_of(state.virtio.transmit_holds, [&](const TransmitHold::State& hold) {
            return hold.since_ns <= state.now_ns;
        });
    if (!is_past) return fail("a timer was started after the state was saved");
    return {};
}

std::uint32_t all_ones(std::uint8_t size) {
    constexpr unsigned kBits = 8;
    return size >= sizeof(std::uint32_t) ? UINT32_MAX : (1U << (kBits * size)) - 1;
}

}  // namespace

Platform::Platform(const VirtioConfig& config, const GuestMemory& memory)
    : dma_(memory), virtio_(config) {
    // As a PC's firmware leaves it, channel 0 ticks 18.2 times a second: Linux waits for a count
    // that has been loaded (arch/x86/lib/kaslr.c, i8254()).
    constexpr std::uint8_t kChannel0Mode3 = 0x36;
    pit_.write(0x43, kChannel0Mode3, now_);
    pit_.write(0x40, 0, now_);
    pit_.write(0x40, 0, now_);
}

Platform::State Platform::state() const {
    FTVMM_CHECK(outputs_.empty(), "outputs are taken before a save");
    State state;
    state.interrupts = interrupts_.state();
    state.pv_clock = pv_clock_.state();
    state.pit = pit_.state();
    state.rtc = rtc_.state();
    state.serial = serial_.state();
    state.acpi = acpi_.state();
    state.virtio = virtio_.state();
    state.waiting_serial_bytes = waiting_serial_bytes_;
    state.now_ns = dev::ns_of(now_);
    return state;
}

Result<void> Platform::restore(const VirtioConfig& config, const State& state) {
    FTVMM_TRY(check_times(state));
    if (state.waiting_serial_bytes.size() > kMaxWaitingConsoleBytes) {
        return fail("more input waits in the state than a machine keeps");
    }
    FTVMM_ASSIGN(const auto interrupts, Interrupts::from_state(state.interrupts, dma_));
    FTVMM_ASSIGN(const auto pv_clock, PvClock::from_state(state.pv_clock, dma_));
    FTVMM_ASSIGN(const auto pit, dev::Pit8254::from_state(state.pit));
    FTVMM_ASSIGN(const auto rtc, dev::RtcCmos::from_state(state.rtc));
    FTVMM_ASSIGN(const auto serial, dev::Serial16550::from_state(state.serial));
    FTVMM_ASSIGN(const auto acpi, dev::AcpiPm::from_state(state.acpi));
    FTVMM_TRY(virtio_.restore(config, state.virtio, dev::at_ns(state.now_ns)));
    interrupts_ = interrupts;
    pv_clock_ = pv_clock;
    pit_ = pit;
    rtc_ = rtc;
    serial_ = serial;
    acpi_ = acpi;
    waiting_serial_bytes_ = state.waiting_serial_bytes;
    now_ = dev::at_ns(state.now_ns);
    outputs_.clear();
    return {};
}

bool Platform::port_needs_time(std::uint16_t port, std::uint8_t size) {
    const auto touches = [&](std::uint16_t first, std::uint16_t last) {
        return port <= last && port + size > first;
    };
    return is_pit(port) || is_rtc(port) ||
           touches(dev::AcpiPm::kTimerBlock, dev::AcpiPm::kTimerBlock + 3);
}

std::uint32_t Platform::read_port(std::uint16_t port, std::uint8_t size) {
    if (const auto value = read_device_port(port, size)) return *value;
    if (const auto value = virtio_.read_port(port, size)) return *value;
    return all_ones(size);
}

std::optional<std::uint32_t> Platform::read_device_port(std::uint16_t port, std::uint8_t size) {
    if (is_acpi(port, size)) return acpi_.read(port, size, now_);
    if (size != 1) return std::nullopt;
    if (is_serial(port)) {
        const std::uint8_t value = serial_.read(port - kCom1);
        deliver_waiting_serial_bytes();
        settle_lines();
        return value;
    }
    if (is_pic(port)) return interrupts_.pic().read(port);
    if (is_pit(port)) return pit_.read(port, now_);
    if (is_rtc(port)) {
        const std::uint8_t value = rtc_.read(port, now_);
        settle_lines();
        return value;
    }
    return std::nullopt;
}

void Platform::write_port(std::uint16_t port, std::uint8_t size, std::uint32_t value) {
    if (write_device_port(port, size, value)) {
        settle_lines();
        return;
    }
    if (virtio_.write_port(dma_, port, size, value)) deliver_messages();
}

bool Platform::write_device_port(std::uint16_t port, std::uint8_t size, std::uint32_t value) {
    const auto low = static_cast<std::uint8_t>(value);
    if (is_acpi(port, size)) {
        acpi_.write(port, size, value);
        return true;
    }
    if (size != 1) return false;
    if (is_serial(port)) {
        write_serial(port, low);
    } else if (is_pic(port)) {
        interrupts_.pic().write(port, low);
        deliver_pit_tick();
    } else if (is_pit(port)) {
        pit_.write(port, low, now_);
        if (pit_.is_fresh_tick(now_)) {
            const auto start = pv_clock_.take_start_of_ticks(now_);
            if (start) pit_.start_earlier(*start);
        }
        advance(now_);  // A count may end where it begins.
    } else if (is_rtc(port)) {
        rtc_.write(port, low, now_);
    } else {
        return false;
    }
    return true;
}

void Platform::write_serial(std::uint16_t port, std::uint8_t value) {
    serial_.write(port - kCom1, value);
    deliver_waiting_serial_bytes();
    const auto sent = serial_.take_output();
    if (sent.empty()) return;
    auto* last =
        outputs_.empty() ? nullptr : std::get_if<replay::output::ConsoleBytes>(&outputs_.back());
    if (last == nullptr || last->port != replay::ConsolePort::kSerial) {
        last = &std::get<replay::output::ConsoleBytes>(
            outputs_.emplace_back(replay::output::ConsoleBytes{{}, replay::ConsolePort::kSerial}));
    }
    const auto bytes = std::as_bytes(std::span(sent));
    last->bytes.insert(last->bytes.end(), bytes.begin(), bytes.end());
}

void Platform::receive_serial_bytes(std::span<const std::byte> bytes) {
    const auto room = kMaxWaitingConsoleBytes - waiting_serial_bytes_.size();
    const auto fitting = bytes.first(std::min(room, bytes.size()));
    waiting_serial_bytes_.insert(waiting_serial_bytes_.end(), fitting.begin(), fitting.end());
    deliver_waiting_serial_bytes();
}

void Platform::deliver_waiting_serial_bytes() {
    if (waiting_serial_bytes_.empty()) return;
    std::vector<std::uint8_t> bytes;
    std::transform(waiting_serial_bytes_.begin(), waiting_serial_bytes_.end(),
                   std::back_inserter(bytes),
                   [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
    const auto taken = static_cast<std::ptrdiff_t>(serial_.receive(bytes));
    waiting_serial_bytes_.erase(waiting_serial_bytes_.begin(),
                                waiting_serial_bytes_.begin() + taken);
}

std::uint64_t Platform::read_memory(Gpa address, std::uint8_t size) {
    return virtio_.read_memory(address, size).value_or(UINT64_MAX);
}

void Platform::write_memory(Gpa address, std::uint8_t size, std::uint64_t value) {
    if (virtio_.write_memory(dma_, address, size, value)) deliver_messages();
}

bool Platform::has_msr(std::uint32_t msr) {
    return (msr >= dev::X2Apic::kFirstMsr && msr <= dev::X2Apic::kLastMsr) ||
           msr == Interrupts::kPvEoiMsr || is_clock_msr(msr);
}

bool Platform::msr_needs_time(std::uint32_t msr) {
    return Interrupts::msr_needs_time(msr) || is_clock_msr(msr);
}

std::optional<std::uint64_t> Platform::read_msr(std::uint32_t msr) const {
    if (is_clock_msr(msr)) return pv_clock_.read_msr(msr);
    return interrupts_.read_msr(msr, now_);
}

bool Platform::write_msr(std::uint32_t msr, std::uint64_t value) {
    if (is_clock_msr(msr)) return pv_clock_.write_msr(dma_, msr, value, now_);
    return interrupts_.write_msr(dma_, msr, value, now_);
}

void Platform::apply(const replay::Input& input) {
    using namespace replay::input;
    begin_landmark();
    std::visit(Overloaded{
                   [this](const Time& time) { advance(std::max(now_, time.now)); },
                   [this](const WallClock& clock) {
                       rtc_.set_wall_clock(clock.at, now_);
                       pv_clock_.set_wall_clock(clock.at, now_);
                   },
                   [this](const ConsoleBytes& typed) {
                       if (typed.port == replay::ConsolePort::kVirtio) {
                           virtio_.receive_console_bytes(dma_, typed.bytes);
                           return;
                       }
                       receive_serial_bytes(typed.bytes);
                   },
                   [this](const Packet& packet) { virtio_.receive_packet(dma_, packet); },
                   [this](const DiskCompletion& end) { virtio_.complete_disk(dma_, end); },
                   [this](const Entropy& entropy) { virtio_.give_entropy(dma_, entropy); },
                   [this](const PowerButton&) { acpi_.press(); },
               },
               input);
    settle_lines();
    deliver_messages();
}

bool Platform::wants_console_bytes(replay::ConsolePort port) const {
    return port == replay::ConsolePort::kVirtio ? virtio_.wants_console_bytes()
                                                : waiting_serial_bytes_.empty();
}

void Platform::advance(GuestTime now) {
    now_ = now;
    interrupts_.advance(dma_, now);
    deliver_pit_tick();
    rtc_.advance(now);
    virtio_.advance(dma_, now);
    pv_clock_.show(dma_, now);
}

// A guest that counts its time by ticks gets every one of them: the next when it has served the one
// before, also those that came while the line was masked. On a PC, an edge that comes earlier is
// lost.
void Platform::deliver_pit_tick() {
    if (interrupts_.pic().is_busy(kPitLine)) return;
    if (pit_.advance(now_)) interrupts_.pulse(kPitLine);
}

void Platform::settle_lines() {
    interrupts_.set_line(kSerialLine, serial_.irq_level());
    interrupts_.set_line(kRtcLine, rtc_.irq_level());
    interrupts_.set_line(kSciLine, acpi_.sci_level());
}

void Platform::deliver_messages() {
    for (const auto& message : virtio_.take_messages())
        interrupts_.deliver(dma_, message);
}

std::optional<GuestTime> Platform::next_deadline() const {
    std::optional<GuestTime> next;
    const auto pit_due = interrupts_.pic().is_busy(kPitLine) ? std::nullopt : pit_.next_deadline();
    for (const auto due :
         {interrupts_.next_deadline(), pit_due, rtc_.next_deadline(), virtio_.next_deadline()}) {
        if (due && (!next || *due < *next)) next = due;
    }
    return next;
}

std::vector<replay::Output> Platform::take_outputs() {
    auto outputs = std::exchange(outputs_, {});
    auto more = virtio_.take_outputs();
    outputs.insert(outputs.end(), std::make_move_iterator(more.begin()),
                   std::make_move_iterator(more.end()));
    return outputs;
}

Platform::Events Platform::take_events() {
    const auto events = acpi_.take_events();
    return {events.power_off, events.reset};
}

}  // namespace ftvmm::machine
