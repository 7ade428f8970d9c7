#include "vmm/machine/interrupts.h"

#include <catch2/catch.hpp>

#include "vmm/dev/ticks.h"

namespace ftvmm::machine {
namespace {

using dev::at_ns;

constexpr std::uint64_t kMemory = 1 << 20;
constexpr Gpa kFlagAt{0x3000};
constexpr std::uint32_t kEoiMsr = 0x80b;
constexpr std::uint8_t kVector = 0x41;
constexpr std::uint8_t kHigher = 0x91;

struct Cpu {
    GuestMemory memory = *GuestMemory::create(kMemory);
    virtio::Dma dma{memory};
    Interrupts interrupts;

    Cpu() {
        REQUIRE(interrupts.write_msr(dma, Interrupts::kPvEoiMsr, kFlagAt.value() | 1, at_ns(0)));
    }
    void send(std::uint8_t vector) { interrupts.deliver(dma, {0xfee00000, vector}); }
    bool flag() const { return memory.find(kFlagAt, 1)[0] != std::byte{0}; }
    // What Linux does at the end of an interrupt: true where it spared itself the register.
    bool end_interrupt() {
        if (flag()) {
            memory.find(kFlagAt, 1)[0] = std::byte{0};
            return true;
        }
        REQUIRE(interrupts.write_msr(dma, kEoiMsr, 0, at_ns(0)));
        return false;
    }
};

TEST_CASE("A lone interrupt ends without a write of EOI") {
    Cpu cpu;
    cpu.send(kVector);
    REQUIRE(cpu.interrupts.is_pending());
    CHECK(cpu.interrupts.acknowledge(cpu.dma) == kVector);
    CHECK_FALSE(cpu.interrupts.is_pending());
    CHECK(cpu.end_interrupt());
    cpu.interrupts.settle(cpu.dma);
    // It is over: the same vector comes again.
    cpu.send(kVector);
    CHECK(cpu.interrupts.is_pending());
}

TEST_CASE("An interrupt that ended unseen does not hold back the next") {
    Cpu cpu;
    cpu.send(kVector);
    (void)cpu.interrupts.acknowledge(cpu.dma);
    CHECK(cpu.end_interrupt());
    // No landmark in between: accepting looks by itself.
    cpu.send(kVector);
    CHECK(cpu.interrupts.is_pending());
}

TEST_CASE("An interrupt during another takes the flag back, and both end") {
    Cpu cpu;
    cpu.send(kVector);
    (void)cpu.interrupts.acknowledge(cpu.dma);
    REQUIRE(cpu.flag());
    cpu.send(kVector);
    CHECK_FALSE(cpu.flag());
    CHECK_FALSE(cpu.interrupts.is_pending());
    CHECK_FALSE(cpu.end_interrupt());
    CHECK(cpu.interrupts.is_pending());
    CHECK(cpu.interrupts.acknowledge(cpu.dma) == kVector);
    CHECK(cpu.end_interrupt());
}

TEST_CASE("Nested interrupts end by the register, innermost first") {
    Cpu cpu;
    cpu.send(kVector);
    (void)cpu.interrupts.acknowledge(cpu.dma);
    cpu.send(kHigher);
    CHECK(cpu.interrupts.acknowledge(cpu.dma) == kHigher);
    CHECK_FALSE(cpu.flag());
    CHECK_FALSE(cpu.end_interrupt());
    cpu.send(kHigher);
    CHECK(cpu.interrupts.is_pending());
    CHECK(cpu.interrupts.acknowledge(cpu.dma) == kHigher);
    CHECK_FALSE(cpu.end_interrupt());
    CHECK_FALSE(cpu.end_interrupt());
    CHECK(cpu.interrupts.state().apic.isr == dev::X2Apic::Vectors{});
}

TEST_CASE("Setting the timer leaves the flag out") {
    Cpu cpu;
    cpu.send(kVector);
    (void)cpu.interrupts.acknowledge(cpu.dma);
    REQUIRE(cpu.interrupts.write_msr(cpu.dma, 0x838, 1000, at_ns(0)));
    CHECK(cpu.flag());
}

TEST_CASE("The timer's interrupt comes once its time is there, and not before") {
    Cpu cpu;
    REQUIRE(cpu.interrupts.write_msr(cpu.dma, 0x83e, 0xb, at_ns(0)));  // Divide by 1.
    REQUIRE(cpu.interrupts.write_msr(cpu.dma, 0x832, 0xec, at_ns(0)));
    REQUIRE(cpu.interrupts.write_msr(cpu.dma, 0x838, 1000, at_ns(0)));
    CHECK(cpu.interrupts.next_deadline() == at_ns(1000));
    cpu.interrupts.advance(cpu.dma, at_ns(999));
    CHECK_FALSE(cpu.interrupts.is_pending());
    cpu.interrupts.advance(cpu.dma, at_ns(1000));
    REQUIRE(cpu.interrupts.is_pending());
    CHECK(cpu.interrupts.acknowledge(cpu.dma) == 0xec);
}

TEST_CASE("A tick that came during another comes after it, also where no EOI tells") {
    Cpu cpu;
    REQUIRE(cpu.interrupts.write_msr(cpu.dma, 0x83e, 0xb, at_ns(0)));  // Divide by 1.
    REQUIRE(cpu.interrupts.write_msr(cpu.dma, 0x832, 0x200ec, at_ns(0)));
    REQUIRE(cpu.interrupts.write_msr(cpu.dma, 0x838, 1000, at_ns(0)));
    cpu.interrupts.advance(cpu.dma, at_ns(1000));
    REQUIRE(cpu.interrupts.acknowledge(cpu.dma) == 0xec);
    // The guest may end it unseen, so the next tick has its time.
    CHECK(cpu.flag());
    CHECK(cpu.interrupts.next_deadline() == at_ns(2000));
    cpu.interrupts.advance(cpu.dma, at_ns(2000));
    // It had not: now its end is an exit, and nothing is to be looked at before.
    CHECK_FALSE(cpu.interrupts.is_pending());
    CHECK_FALSE(cpu.interrupts.next_deadline());
    CHECK_FALSE(cpu.end_interrupt());
    CHECK(cpu.interrupts.next_deadline() == at_ns(2000));
    cpu.interrupts.advance(cpu.dma, at_ns(2100));
    CHECK(cpu.interrupts.is_pending());
    CHECK(cpu.interrupts.next_deadline() == std::nullopt);
}

TEST_CASE("A legacy line's interrupt goes through LINT0 and needs no EOI of the APIC") {
    Cpu cpu;
    auto& pic = cpu.interrupts.pic();
    for (const auto& [port, value] :
         {std::pair{0x20, 0x11}, {0x21, 0x30}, {0x21, 0x04}, {0x21, 0x01}, {0x21, 0x00}}) {
        pic.write(static_cast<std::uint16_t>(port), static_cast<std::uint8_t>(value));
    }
    cpu.interrupts.pulse(0);
    REQUIRE(cpu.interrupts.is_pending());
    CHECK(cpu.interrupts.acknowledge(cpu.dma) == 0x30);
    CHECK_FALSE(cpu.flag());
    // Masked as the kernel does once it has another timer.
    REQUIRE(cpu.interrupts.write_msr(cpu.dma, 0x835, 0x10700, at_ns(0)));
    pic.write(0x20, 0x20);
    cpu.interrupts.pulse(0);
    CHECK_FALSE(cpu.interrupts.is_pending());
}

TEST_CASE("Messages for nobody go nowhere") {
    for (const pci::MsiMessage& message :
         {pci::MsiMessage{0xfed00000, kVector}, pci::MsiMessage{0x1'fee0'0000, kVector},
          pci::MsiMessage{0xfee01000, kVector}, pci::MsiMessage{0xfee02004, kVector},
          pci::MsiMessage{0xfee00000, kVector | 0x400}}) {
        Cpu cpu;
        cpu.interrupts.deliver(cpu.dma, message);
        CHECK_FALSE(cpu.interrupts.is_pending());
    }
    Cpu cpu;
    cpu.interrupts.deliver(cpu.dma, {0xfee01004, kVector});  // Logical, to us among others.
    CHECK(cpu.interrupts.is_pending());
}

TEST_CASE("A flag outside of memory and reserved bits are refused") {
    Cpu cpu;
    CHECK_FALSE(cpu.interrupts.write_msr(cpu.dma, Interrupts::kPvEoiMsr, kMemory | 1, at_ns(0)));
    CHECK_FALSE(cpu.interrupts.write_msr(cpu.dma, Interrupts::kPvEoiMsr, 0x2003, at_ns(0)));
    CHECK(cpu.interrupts.read_msr(Interrupts::kPvEoiMsr, at_ns(0)) == (kFlagAt.value() | 1));
}

}  // namespace
}  // namespace ftvmm::machine
