#include "vmm/dev/pic_8259.h"

#include <algorithm>

#include "base/check.h"
#include "vmm/dev/bits.h"

namespace ftvmm::dev {
namespace {

constexpr std::size_t kMaster = 0;
constexpr std::size_t kSlave = 1;
constexpr unsigned kSpuriousLine = 7;

constexpr std::uint8_t kIcw1 = 0x10;  // In the command port: this is ICW1.
constexpr std::uint8_t kIcw1Single = 0x02;
constexpr std::uint8_t kIcw1NeedsIcw4 = 0x01;
constexpr std::uint8_t kIcw4AutoEoi = 0x02;
constexpr std::uint8_t kIcw4FullyNested = 0x10;

constexpr std::uint8_t kOcw3 = 0x08;
constexpr std::uint8_t kOcw3SetSpecialMask = 0x40;
constexpr std::uint8_t kOcw3SpecialMask = 0x20;
constexpr std::uint8_t kOcw3Poll = 0x04;
constexpr std::uint8_t kOcw3SetRead = 0x02;
constexpr std::uint8_t kOcw3ReadIsr = 0x01;

// The lines that may be level triggered, per chip.
constexpr std::array<std::uint8_t, 2> kElcrBits = {0xf8, 0xde};

// How far `line` of `mask` nearest to the highest priority is from it; 8 where `mask` is empty.
unsigned rank_of(std::uint8_t mask, std::uint8_t highest) {
    for (unsigned rank = 0; rank < 8; ++rank) {
        if ((mask & bit(highest + rank)) != 0) return rank;
    }
    return 8;
}

std::uint8_t line_after(unsigned line) {
    return static_cast<std::uint8_t>((line + 1) & 7);
}

Pic8259::Step after_icw2(const Pic8259::Chip& chip) {
    if (chip.wants_icw3) return Pic8259::Step::kIcw3;
    return chip.wants_icw4 ? Pic8259::Step::kIcw4 : Pic8259::Step::kReady;
}

void write_icw1(Pic8259::Chip& chip, std::uint8_t value) {
    // The edge sense is reset: a line that is high must fall and rise to ask again.
    Pic8259::Chip fresh;
    fresh.lines = chip.lines;
    fresh.elcr = chip.elcr;
    fresh.irr = chip.lines & chip.elcr;
    fresh.imr = 0;
    fresh.vector_base = chip.vector_base;
    fresh.step = Pic8259::Step::kIcw2;
    fresh.wants_icw3 = (value & kIcw1Single) == 0;
    fresh.wants_icw4 = (value & kIcw1NeedsIcw4) != 0;
    chip = fresh;
}

// Ends the service of the line that OCW2 means: `line` itself if `specific`, else the highest.
std::optional<unsigned> end_of_interrupt(Pic8259::Chip& chip, bool specific, unsigned line) {
    if (!specific) {
        // Masked lines in special mask mode are not what a plain EOI means.
        const auto served = chip.special_mask ? without(chip.isr, chip.imr) : chip.isr;
        const unsigned rank = rank_of(served, chip.highest);
        if (rank == 8) return std::nullopt;
        line = (chip.highest + rank) & 7;
    }
    chip.isr = without(chip.isr, bit(line));
    return line;
}

void write_ocw2(Pic8259::Chip& chip, std::uint8_t value) {
    const unsigned line = value & 7;
    const bool rotates = (value & 0x80) != 0;
    switch (value >> 5) {
        case 0:  // Rotate in automatic EOI mode: clear, set.
        case 4:
            chip.rotate_on_auto_eoi = rotates;
            return;
        case 6:  // Set priority.
            chip.highest = line_after(line);
            return;
        case 1:  // Non-specific and specific EOI, each without and with rotation.
        case 3:
        case 5:
        case 7: {
            const auto ended = end_of_interrupt(chip, (value & 0x40) != 0, line);
            if (ended && rotates) chip.highest = line_after(*ended);
            return;
        }
        default:
            return;  // 2 is "no operation".
    }
}

void write_ocw3(Pic8259::Chip& chip, std::uint8_t value) {
    if ((value & kOcw3SetSpecialMask) != 0) chip.special_mask = (value & kOcw3SpecialMask) != 0;
    if ((value & kOcw3SetRead) != 0) chip.reads_isr = (value & kOcw3ReadIsr) != 0;
    chip.polled = (value & kOcw3Poll) != 0;
}

Result<void> validate(const Pic8259::Chip& chip, std::size_t index) {
    if ((chip.elcr & ~kElcrBits.at(index)) != 0) return fail("interrupt controller: bad ELCR");
    if ((chip.vector_base & 7) != 0) return fail("interrupt controller: bad vector base");
    if (chip.highest > 7) return fail("interrupt controller: bad priority");
    if (chip.step > Pic8259::Step::kIcw4) return fail("interrupt controller: bad ICW step");
    if (((chip.irr ^ chip.lines) & chip.elcr) != 0) {
        return fail("interrupt controller: a level request without its line");
    }
    if (index == kMaster && ((chip.irr | chip.lines) & bit(Pic8259::kCascadeLine)) != 0) {
        return fail("interrupt controller: line 2 is the slave's");
    }
    return {};
}

}  // namespace

Result<Pic8259> Pic8259::from_state(const State& state) {
    FTVMM_TRY(validate(state.chips[kMaster], kMaster));
    FTVMM_TRY(validate(state.chips[kSlave], kSlave));
    return Pic8259(state);
}

std::uint8_t Pic8259::requests(std::size_t chip) const {
    const std::uint8_t own = state_.chips.at(chip).irr;
    if (chip == kMaster && winner(kSlave)) return own | bit(kCascadeLine);
    return own;
}

std::optional<unsigned> Pic8259::winner(std::size_t chip) const {
    const Chip& it = state_.chips.at(chip);
    if (it.step != Step::kReady) return std::nullopt;
    const unsigned rank = rank_of(without(requests(chip), it.imr), it.highest);

    std::uint8_t served = it.isr;
    // In special mask mode a line in service that is masked holds nobody back.
    if (it.special_mask) served = without(served, it.imr);
    const unsigned served_rank = rank_of(served, it.highest);
    if (rank == 8 || rank > served_rank) return std::nullopt;
    // In special fully nested mode the slave, which sorts its own lines, may interrupt itself.
    const bool nests =
        it.special_fully_nested && chip == kMaster && ((it.highest + rank) & 7) == kCascadeLine;
    if (rank == served_rank && !nests) return std::nullopt;
    return (it.highest + rank) & 7;
}

std::optional<std::uint8_t> Pic8259::pending() const {
    const auto line = winner(kMaster);
    if (!line) return std::nullopt;
    if (*line != kCascadeLine) return state_.chips[kMaster].vector_base | *line;
    return state_.chips[kSlave].vector_base | winner(kSlave).value_or(kSpuriousLine);
}

void Pic8259::serve(Chip& chip, unsigned line) {
    if (chip.auto_eoi) {
        if (chip.rotate_on_auto_eoi) chip.highest = line_after(line);
    } else {
        chip.isr |= bit(line);
    }
    if ((chip.elcr & bit(line)) == 0) chip.irr = without(chip.irr, bit(line));
}

std::uint8_t Pic8259::acknowledge() {
    Chip& master = state_.chips[kMaster];
    Chip& slave = state_.chips[kSlave];
    const auto line = winner(kMaster);
    if (!line) return master.vector_base | kSpuriousLine;
    if (*line != kCascadeLine) {
        serve(master, *line);
        return byte_of(master.vector_base | *line);
    }
    const auto behind = winner(kSlave);
    serve(master, kCascadeLine);
    if (behind) serve(slave, *behind);
    return byte_of(slave.vector_base | behind.value_or(kSpuriousLine));
}

bool Pic8259::is_busy(unsigned irq) const {
    const Chip& chip = state_.chips.at(irq / 8);
    return ((chip.irr | chip.isr) & bit(irq)) != 0;
}

void Pic8259::set_line(unsigned irq, bool level) {
    FTVMM_CHECK(irq < kLines && irq != kCascadeLine, "devices drive lines 0 to 15 but 2");
    Chip& chip = state_.chips.at(irq / 8);
    const std::uint8_t mask = bit(irq);
    const bool was = (chip.lines & mask) != 0;
    const bool by_level = (chip.elcr & mask) != 0;
    if (level) {
        chip.lines |= mask;
        if (by_level || !was) chip.irr |= mask;
    } else {
        chip.lines = without(chip.lines, mask);
        if (by_level) chip.irr = without(chip.irr, mask);
    }
}

// A polled chip takes the read for the acknowledge cycle (8259A, "Poll Command").
std::uint8_t Pic8259::poll(std::size_t index) {
    Chip& chip = state_.chips.at(index);
    chip.polled = false;
    const auto line = winner(index);
    if (!line) return 0;
    serve(chip, *line);
    return byte_of(0x80 | *line);
}

std::uint8_t Pic8259::read_command(std::size_t index) {
    const Chip& chip = state_.chips.at(index);
    if (chip.polled) return poll(index);
    return chip.reads_isr ? chip.isr : requests(index);
}

std::uint8_t Pic8259::read(std::uint16_t port) {
    switch (port) {
        case 0x20:
            return read_command(kMaster);
        case 0xa0:
            return read_command(kSlave);
        case 0x21:
            return state_.chips[kMaster].polled ? poll(kMaster) : state_.chips[kMaster].imr;
        case 0xa1:
            return state_.chips[kSlave].polled ? poll(kSlave) : state_.chips[kSlave].imr;
        case 0x4d0:
            return state_.chips[kMaster].elcr;
        case 0x4d1:
            return state_.chips[kSlave].elcr;
        default:
            return 0xff;
    }
}

void Pic8259::write(std::uint16_t port, std::uint8_t value) {
    Chip& master = state_.chips[kMaster];
    Chip& slave = state_.chips[kSlave];
    switch (port) {
        case 0x20:
            return write_command(master, value);
        case 0xa0:
            return write_command(slave, value);
        case 0x21:
            return write_data(master, value);
        case 0xa1:
            return write_data(slave, value);
        case 0x4d0:
            return write_elcr(master, value & kElcrBits[kMaster]);
        case 0x4d1:
            return write_elcr(slave, value & kElcrBits[kSlave]);
        default:
            return;
    }
}

void Pic8259::write_command(Chip& chip, std::uint8_t value) {
    if ((value & kIcw1) != 0) return write_icw1(chip, value);
    if ((value & kOcw3) != 0) return write_ocw3(chip, value);
    write_ocw2(chip, value);
}

void Pic8259::write_data(Chip& chip, std::uint8_t value) {
    switch (chip.step) {
        case Step::kReady:
            chip.imr = value;
            return;
        case Step::kIcw2:
            chip.vector_base = value & 0xf8;
            chip.step = after_icw2(chip);
            return;
        case Step::kIcw3:
            chip.step = chip.wants_icw4 ? Step::kIcw4 : Step::kReady;
            return;
        case Step::kIcw4:
            chip.auto_eoi = (value & kIcw4AutoEoi) != 0;
            chip.special_fully_nested = (value & kIcw4FullyNested) != 0;
            chip.step = Step::kReady;
            return;
    }
}

void Pic8259::write_elcr(Chip& chip, std::uint8_t value) {
    // A line that is level triggered from now on asks exactly while it is high.
    chip.irr = static_cast<std::uint8_t>((chip.irr & ~value) | (chip.lines & value));
    chip.elcr = value;
}

}  // namespace ftvmm::dev
