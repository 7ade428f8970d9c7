// The serial port: a 16550A UART.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace ftvmm::dev {

// Source: National Semiconductor PC16550D, June 1995. Eight byte-wide registers from the base port:
//
//   0  RBR read, THR write; divisor low while LCR.DLAB      4  MCR
//   1  IER; divisor high while LCR.DLAB                     5  LSR (read only)
//   2  IIR read, FCR write                                  6  MSR (read only)
//   3  LCR                                                  7  SCR
//
// The wire is infinitely fast: a byte written to THR has left at once, so the transmitter is always
// empty and its interrupt is due again. Received bytes wait in the FIFO, one byte without FIFOs;
// what lies below the trigger level counts as timed out at once. Carrier, DSR and CTS are always
// on. As on every PC, MCR.OUT2 connects the interrupt to the line.
//
// Left out: baud rate, parity, framing and break have no effect; DMA modes; the auto flow control
// and deeper FIFOs of later chips, whose absence Linux detects.
//
// Owned by the machine, used by the vCPU's thread alone.
class Serial16550 {
  public:
    static constexpr std::uint16_t kPorts = 8;
    static constexpr std::size_t kFifoBytes = 16;
    // One exit moves at most one page through a port, and the output is taken after every exit.
    static constexpr std::size_t kMaxOutput = 4096;

    struct State {
        std::uint8_t ier = 0;
        std::uint8_t lcr = 0;
        std::uint8_t mcr = 0;
        std::uint8_t scratch = 0;
        std::uint8_t fcr = 0;  // FIFO enable and trigger level; the reset bits do not stay.
        std::uint16_t divisor = 12;
        std::uint8_t modem_delta = 0;  // The low half of MSR.
        bool overrun = false;          // LSR.OE.
        bool transmit_due = false;     // The THR-empty interrupt is waiting.
        std::uint8_t received = 0;     // How many bytes of `fifo` are in use, oldest first.
        std::array<std::uint8_t, kFifoBytes> fifo{};

        bool operator==(const State&) const = default;
    };

    // As after a hardware reset.
    Serial16550() = default;
    // Refuses a state that no sequence of accesses can lead to.
    static Result<Serial16550> from_state(const State& state);
    // Transmitted bytes have left the device and are no part of it: take them first.
    [[nodiscard]] const State& state() const { return state_; }

    // The guest's accesses. Of `offset` only the low three bits count.
    std::uint8_t read(std::uint16_t offset);
    void write(std::uint16_t offset, std::uint8_t value);

    // Bytes from the wire; returns how many of them were taken, from the front. The rest must be
    // offered again: nothing is overrun. Takes none in loopback mode.
    std::size_t receive(std::span<const std::uint8_t> bytes);
    // What the guest has transmitted since the last call, in order.
    [[nodiscard]] std::vector<std::uint8_t> take_output();
    // The interrupt line, after OUT2.
    [[nodiscard]] bool irq_level() const;

  private:
    explicit Serial16550(const State& state) : state_(state) {}
    [[nodiscard]] std::size_t capacity() const;
    [[nodiscard]] std::uint8_t interrupt_id() const;
    [[nodiscard]] std::uint8_t modem_lines() const;
    std::uint8_t take_received();
    void transmit(std::uint8_t value);
    void write_ier(std::uint8_t value);
    void write_fcr(std::uint8_t value);
    void write_mcr(std::uint8_t value);

    State state_;
    std::vector<std::uint8_t> output_;
};

}  // namespace ftvmm::dev
