#include "vmm/dev/serial_16550.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "vmm/dev/bits.h"

namespace ftvmm::dev {
namespace {

constexpr std::uint8_t kIerReceived = 0x01;
constexpr std::uint8_t kIerTransmit = 0x02;
constexpr std::uint8_t kIerLine = 0x04;
constexpr std::uint8_t kIerModem = 0x08;
constexpr std::uint8_t kIerBits = 0x0f;

constexpr std::uint8_t kIirModem = 0x00;
constexpr std::uint8_t kIirNone = 0x01;
constexpr std::uint8_t kIirTransmit = 0x02;
constexpr std::uint8_t kIirReceived = 0x04;
constexpr std::uint8_t kIirLine = 0x06;
constexpr std::uint8_t kIirTimeout = 0x0c;
constexpr std::uint8_t kIirFifos = 0xc0;

constexpr std::uint8_t kFcrEnable = 0x01;
constexpr std::uint8_t kFcrClearReceived = 0x02;
constexpr std::uint8_t kFcrTrigger = 0xc0;

constexpr std::uint8_t kLcrDivisor = 0x80;

constexpr std::uint8_t kMcrDtr = 0x01;
constexpr std::uint8_t kMcrRts = 0x02;
constexpr std::uint8_t kMcrOut1 = 0x04;
constexpr std::uint8_t kMcrOut2 = 0x08;
constexpr std::uint8_t kMcrLoop = 0x10;
constexpr std::uint8_t kMcrBits = 0x1f;

constexpr std::uint8_t kLsrData = 0x01;
constexpr std::uint8_t kLsrOverrun = 0x02;
constexpr std::uint8_t kLsrTransmitterEmpty = 0x60;  // THRE and TEMT.

constexpr std::uint8_t kMsrCts = 0x10;
constexpr std::uint8_t kMsrDsr = 0x20;
constexpr std::uint8_t kMsrRing = 0x40;
constexpr std::uint8_t kMsrCarrier = 0x80;
constexpr std::uint8_t kMsrDelta = 0x0f;

constexpr std::array<std::uint8_t, 4> kTriggerLevels = {1, 4, 8, 14};

}  // namespace

Result<Serial16550> Serial16550::from_state(const State& state) {
    if ((state.ier & ~kIerBits) != 0 || (state.mcr & ~kMcrBits) != 0 ||
        (state.fcr & ~(kFcrEnable | kFcrTrigger)) != 0 || (state.modem_delta & ~kMsrDelta) != 0) {
        return fail("serial port: a register has bits that the 16550A has not");
    }
    if ((state.fcr & kFcrEnable) == 0 && state.fcr != 0) {
        return fail("serial port: a trigger level without FIFOs");
    }
    const Serial16550 port(state);
    if (state.received > port.capacity()) return fail("serial port: more received than fits");
    if (std::any_of(state.fifo.begin() + state.received, state.fifo.end(),
                    [](std::uint8_t byte) { return byte != 0; })) {
        return fail("serial port: bytes behind the end of the FIFO");
    }
    return port;
}

std::size_t Serial16550::capacity() const {
    return (state_.fcr & kFcrEnable) != 0 ? kFifoBytes : 1;
}

// Highest priority first (table 5 of the data sheet).
std::uint8_t Serial16550::interrupt_id() const {
    if (state_.overrun && (state_.ier & kIerLine) != 0) return kIirLine;
    if (state_.received > 0 && (state_.ier & kIerReceived) != 0) {
        const bool fifos = (state_.fcr & kFcrEnable) != 0;
        const std::uint8_t trigger = kTriggerLevels.at(state_.fcr >> 6);
        return fifos && state_.received < trigger ? kIirTimeout : kIirReceived;
    }
    if (state_.transmit_due && (state_.ier & kIerTransmit) != 0) return kIirTransmit;
    if (state_.modem_delta != 0 && (state_.ier & kIerModem) != 0) return kIirModem;
    return kIirNone;
}

bool Serial16550::irq_level() const {
    // In loopback mode the OUT2 pin is forced off, and with it the line.
    const bool connected = (state_.mcr & (kMcrOut2 | kMcrLoop)) == kMcrOut2;
    return connected && interrupt_id() != kIirNone;
}

std::uint8_t Serial16550::modem_lines() const {
    if ((state_.mcr & kMcrLoop) == 0) return kMsrCarrier | kMsrDsr | kMsrCts;
    std::uint8_t lines = 0;
    if ((state_.mcr & kMcrRts) != 0) lines |= kMsrCts;
    if ((state_.mcr & kMcrDtr) != 0) lines |= kMsrDsr;
    if ((state_.mcr & kMcrOut1) != 0) lines |= kMsrRing;
    if ((state_.mcr & kMcrOut2) != 0) lines |= kMsrCarrier;
    return lines;
}

std::uint8_t Serial16550::take_received() {
    if (state_.received == 0) return 0;
    const std::uint8_t value = state_.fifo.front();
    std::shift_left(state_.fifo.begin(), state_.fifo.begin() + state_.received, 1);
    --state_.received;
    // The unused part stays zero, so that equal devices have equal states.
    state_.fifo.at(state_.received) = 0;
    return value;
}

std::uint8_t Serial16550::read(std::uint16_t offset) {
    const bool divisor = (state_.lcr & kLcrDivisor) != 0;
    switch (offset & 7) {
        case 0:
            return divisor ? byte_of(state_.divisor) : take_received();
        case 1:
            return divisor ? byte_of(state_.divisor, 1) : state_.ier;
        case 2: {
            const std::uint8_t id = interrupt_id();
            // Reading IIR answers the transmitter's interrupt, if it is the one shown.
            if (id == kIirTransmit) state_.transmit_due = false;
            const bool fifos = (state_.fcr & kFcrEnable) != 0;
            return fifos ? static_cast<std::uint8_t>(id | kIirFifos) : id;
        }
        case 3:
            return state_.lcr;
        case 4:
            return state_.mcr;
        case 5: {
            std::uint8_t status = kLsrTransmitterEmpty;
            if (state_.received > 0) status |= kLsrData;
            if (std::exchange(state_.overrun, false)) status |= kLsrOverrun;
            return status;
        }
        case 6:
            return modem_lines() | std::exchange(state_.modem_delta, std::uint8_t{0});
        default:
            return state_.scratch;
    }
}

void Serial16550::write(std::uint16_t offset, std::uint8_t value) {
    const bool divisor = (state_.lcr & kLcrDivisor) != 0;
    switch (offset & 7) {
        case 0:
            if (!divisor) return transmit(value);
            state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0xff00) | value);
            return;
        case 1:
            if (!divisor) return write_ier(value);
            state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0x00ff) | value << 8);
            return;
        case 2:
            return write_fcr(value);
        case 3:
            state_.lcr = value;
            return;
        case 4:
            return write_mcr(value);
        case 7:
            state_.scratch = value;
            return;
        default:
            return;  // LSR and MSR: writing them is for factory tests.
    }
}

void Serial16550::transmit(std::uint8_t value) {
    state_.transmit_due = true;
    if ((state_.mcr & kMcrLoop) == 0) {
        FTVMM_CHECK(output_.size() < kMaxOutput, "serial output is taken after every exit");
        output_.push_back(value);
        return;
    }
    if (state_.received == capacity()) {
        state_.overrun = true;
        // With FIFOs the newest byte is lost, without them the one that nobody read.
        if ((state_.fcr & kFcrEnable) != 0) return;
        state_.received = 0;
    }
    state_.fifo.at(state_.received++) = value;
}

void Serial16550::write_ier(std::uint8_t value) {
    // The transmitter is empty, so allowing its interrupt makes it due. Linux tests for this.
    const bool was_on = (state_.ier & kIerTransmit) != 0;
    if ((value & kIerTransmit) != 0 && !was_on) state_.transmit_due = true;
    state_.ier = value & kIerBits;
}

void Serial16550::write_fcr(std::uint8_t value) {
    const bool toggled = ((value ^ state_.fcr) & kFcrEnable) != 0;
    const bool clears =
        (value & (kFcrEnable | kFcrClearReceived)) == (kFcrEnable | kFcrClearReceived);
    if (toggled || clears) {
        state_.received = 0;
        state_.fifo.fill(0);
    }
    // Without the enable bit the other bits are not taken.
    state_.fcr = (value & kFcrEnable) != 0 ? value & (kFcrEnable | kFcrTrigger) : 0;
}

void Serial16550::write_mcr(std::uint8_t value) {
    const std::uint8_t before = modem_lines();
    state_.mcr = value & kMcrBits;
    const std::uint8_t after = modem_lines();
    // CTS, DSR and carrier report any change, RI only its end.
    const auto changed = static_cast<std::uint8_t>(before ^ after);
    const auto ring_ended = static_cast<std::uint8_t>(before & ~after & kMsrRing);
    const auto delta = static_cast<std::uint8_t>((changed & ~kMsrRing) | ring_ended);
    state_.modem_delta |= delta >> 4;
}

std::size_t Serial16550::receive(std::span<const std::uint8_t> bytes) {
    if ((state_.mcr & kMcrLoop) != 0) return 0;
    const std::size_t taken = std::min(bytes.size(), capacity() - state_.received);
    std::ranges::copy(bytes.first(taken), state_.fifo.begin() + state_.received);
    state_.received = static_cast<std::uint8_t>(state_.received + taken);
    return taken;
}

std::vector<std::uint8_t> Serial16550::take_output() {
    return std::exchange(output_, {});
}

}  // namespace ftvmm::dev
