"""Codes of bidding zones at ENTSO-E, by the names that others use."""

from __future__ import annotations

import re
from types import MappingProxyType

from negawatt.adapters.grids.asked import unknown_zone

AREAS = MappingProxyType(
    {
        "AT": "10YAT-APG------L",
        "BA": "10YBA-JPCC-----D",
        "BE": "10YBE----------2",
        "BG": "10YCA-BULGARIA-R",
        "CH": "10YCH-SWISSGRIDZ",
        "CZ": "10YCZ-CEPS-----N",
        "DE": "10Y1001A1001A82H",
        "DE-LU": "10Y1001A1001A82H",
        "DK-DK1": "10YDK-1--------W",
        "DK-DK2": "10YDK-2--------M",
        "EE": "10Y1001A1001A39I",
        "ES": "10YES-REE------0",
        "FI": "10YFI-1--------U",
        "FR": "10YFR-RTE------C",
        "GR": "10YGR-HTSO-----Y",
        "HR": "10YHR-HEP------M",
        "HU": "10YHU-MAVIR----U",
        "IE": "10Y1001A1001A59C",
        "IT-CNO": "10Y1001A1001A70O",
        "IT-CSO": "10Y1001A1001A71M",
        "IT-NO": "10Y1001A1001A73I",
        "IT-SAR": "10Y1001A1001A74G",
        "IT-SIC": "10Y1001A1001A75E",
        "IT-SO": "10Y1001A1001A788",
        "LT": "10YLT-1001A0008Q",
        "LV": "10YLV-1001A00074",
        "NL": "10YNL----------L",
        "NO-NO1": "10YNO-1--------2",
        "NO-NO2": "10YNO-2--------T",
        "NO-NO3": "10YNO-3--------J",
        "NO-NO4": "10YNO-4--------9",
        "NO-NO5": "10Y1001A1001A48H",
        "PL": "10YPL-AREA-----S",
        "PT": "10YPT-REN------W",
        "RO": "10YRO-TEL------P",
        "RS": "10YCS-SERBIATSOV",
        "SE-SE1": "10Y1001A1001A44P",
        "SE-SE2": "10Y1001A1001A45N",
        "SE-SE3": "10Y1001A1001A46L",
        "SE-SE4": "10Y1001A1001A47J",
        "SI": "10YSI-ELES-----O",
        "SK": "10YSK-SEPS-----K",
    }
)


def area_of(zone: str) -> str:
    """The code of a zone, or the code itself.

    Raises:
        UsageError: there is no such zone; the message names those near it.

    >>> area_of("DE_LU") == area_of("10Y1001A1001A82H"), area_of("DK1")
    (True, '10YDK-1--------W')
    """
    name = zone.strip().upper().replace("_", "-")
    if re.fullmatch(r"10Y[A-Z0-9-]{13}", name):
        return name
    short = {known.rsplit("-", 1)[-1]: code for known, code in AREAS.items() if "DK" in known}
    if name not in AREAS and name not in short:
        raise unknown_zone("ENTSO-E", zone, AREAS)
    return AREAS.get(name) or short[name]
