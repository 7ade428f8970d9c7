// HLT leaves the guest, and running it again goes on behind it.
// To be seen: HLT; then 0x2a on port 0xe0; then HLT.
#include "guest.inc"
    .global _start
_start:
    hlt
    movb    $0x2a, %al
    outb    %al, $0xe0
    hlt
    stop
