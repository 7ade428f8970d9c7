// The legacy interrupt controllers: two 8259A in cascade.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/result.h"

namespace ftvmm::dev {

// Source: Intel 8259A, 1988; the edge/level registers are those of the PIIX (82371).
//
//   0x20, 0x21    master: command, data        0x4d0   ELCR of lines 0 to 7 (3 to 7 can be level)
//   0xa0, 0xa1    slave: command, data         0x4d1   ELCR of lines 8 to 15 (not 8 and 13)
//
// A chip wants an initialisation sequence of ICW1 (command), then ICW2, ICW3, ICW4 (data):
//
//   ready --ICW1--> icw2 --> icw3 --> icw4 --> ready      icw3 and icw4 as ICW1 asks for them
//
// and asks for no interrupt until it is complete. Before the first one every line is masked, as
// firmware leaves it. The slave's request reaches line 2 of the master as a level. An edge stays
// requested until it is acknowledged, even where its line falls before: no timer tick is lost.
//
// Left out: MCS-80 mode and buffered mode (ICW4 bits 0, 2, 3), ICW1's LTIM (ELCR replaces it), and
// another wiring than the PC's, which is what ICW3 could ask for.
//
// Owned by the machine, used by the vCPU's thread alone.
class Pic8259 {
  public:
    static constexpr unsigned kLines = 16;
    static constexpr unsigned kCascadeLine = 2;

    enum class Step : std::uint8_t { kReady, kIcw2, kIcw3, kIcw4 };

    struct Chip {
        std::uint8_t lines = 0;  // The levels of the inputs.
        std::uint8_t irr = 0;    // Without the master's bit 2, which is the slave's request.
        std::uint8_t isr = 0;
        std::uint8_t imr = 0xff;
        std::uint8_t elcr = 0;
        std::uint8_t vector_base = 0;
        std::uint8_t highest = 0;  // The line of the highest priority; rotation moves it.
        Step step = Step::kReady;
        bool wants_icw3 = false;
        bool wants_icw4 = false;
        bool auto_eoi = false;
        bool rotate_on_auto_eoi = false;
        bool special_mask = false;
        bool special_fully_nested = false;
        bool reads_isr = false;  // OCW3: command port reads show ISR, not IRR.
        bool polled = false;     // OCW3: the next read acknowledges.

        bool operator==(const Chip&) const = default;
    };

    struct State {
        std::array<Chip, 2> chips{};  // Master, slave.

        bool operator==(const State&) const = default;
    };

    Pic8259() = default;
    // Refuses a state that no sequence of accesses can lead to.
    static Result<Pic8259> from_state(const State& state);
    [[nodiscard]] const State& state() const { return state_; }

    // The guest's accesses to the six ports above; any other reads 0xff and ignores writes.
    std::uint8_t read(std::uint16_t port);
    void write(std::uint16_t port, std::uint8_t value);

    // The device on line `irq` drives it to `level`. Requires irq < 16 and not 2.
    void set_line(unsigned irq, bool level);
    // Whether line `irq` waits to be served or is served just now, so that another edge would be
    // lost.
    [[nodiscard]] bool is_busy(unsigned irq) const;
    // The vector that acknowledge() would return, or nothing where INT is not raised.
    [[nodiscard]] std::optional<std::uint8_t> pending() const;
    // The CPU's interrupt acknowledge cycle. Where the request has gone meanwhile, the answer is
    // the spurious line 7 of the chip that asked, with no bit in its ISR.
    std::uint8_t acknowledge();

  private:
    explicit Pic8259(const State& state) : state_(state) {}
    // What the chip's IRR shows: the master's with the slave's request in bit 2.
    [[nodiscard]] std::uint8_t requests(std::size_t chip) const;
    // The line that the chip asks its CPU or master to serve.
    [[nodiscard]] std::optional<unsigned> winner(std::size_t chip) const;
    void serve(Chip& chip, unsigned line);
    std::uint8_t poll(std::size_t index);
    std::uint8_t read_command(std::size_t index);
    void write_command(Chip& chip, std::uint8_t value);
    void write_data(Chip& chip, std::uint8_t value);
    void write_elcr(Chip& chip, std::uint8_t value);

    State state_;
};

}  // namespace ftvmm::dev
