// What the guest's ACPI finds besides the tables of acpi.cpp: the PCI root, the ISA devices and
// soft-off. acpi.h repeats the numbers that others must agree with.
//
// There is no RTC: acpi.cpp says why. The processor is an object so that Linux brings in its C-state
// driver. That one has nothing to choose but HLT, yet where it foresees a short sleep it leaves the
// tick alone, which otherwise costs an exit to stop and one to start again, at every sleep.
DefinitionBlock ("", "DSDT", 2, "FTVMM ", "FTVMM   ", 1)
{
    // SLP_TYP for soft-off; no other sleep is described.
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0, 0, 1)
                IO (Decode16, 0xcf8, 0xcf8, 1, 8)
                // Ports below 0x1000 are the machine's own.
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x1000, 0xffff, 0, 0xf000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
                    NonCacheable, ReadWrite,
                    0, 0xd0000000, 0xdfffffff, 0, 0x10000000)
            })

            // The features that an OS may ask for (hot plug, AER, PME) are in no device here, so
            // none is granted; message signalled interrupts need no grant.
            Method (_OSC, 4, Serialized)
            {
                CreateDWordField (Arg3, 0, STAT)
                If (Arg0 != ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766"))
                {
                    STAT |= 0x04
                    Return (Arg3)
                }
                If (Arg1 != 1)
                {
                    STAT |= 0x08
                }
                If (Arg2 >= 3)
                {
                    CreateDWordField (Arg3, 8, CTRL)
                    If (CTRL != 0)
                    {
                        STAT |= 0x10
                        CTRL = 0
                    }
                }
                Return (Arg3)
            }
        }

        // The PCI configuration window, which Linux uses only where it is reserved, and the ports
        // of ACPI itself.
        Device (MBRD)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xe0000000, 0x100000)
                IO (Decode16, 0x600, 0x600, 1, 16)
            })
        }

        Device (CPU0)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 0)  // As in the MADT.
            // C1, entered by HLT and left in no time: a longer one would let Linux prefer to poll.
            Name (_CST, Package ()
            {
                1, Package () { ResourceTemplate () { Register (FFixedHW, 0, 0, 0) }, 1, 0, 0 }
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x3f8, 0x3f8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }
    }
}
